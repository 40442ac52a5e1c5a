"""What users may import, and what importing it may load."""

from __future__ import annotations

import importlib
import runpy
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import nudge_integrations

# Removing or renaming one of these breaks code that others have written.
PUBLIC = {
    "nudge_integrations": (
        *(
            "RetrievalDataset",
            "ValidationReport",
            "load_demo",
            "Encoder",
            "SentenceTransformerEncoder",
            "CachedEncoder",
        ),
        *("Corpus", "ArrayCorpus", "prepare", "Prepared", "solve", "Solution", "select", "Options"),
        *("fit", "refit", "health", "Health", "suspects", "Suspect", "migrate", "Migration", "LabelLog"),
        *("Nudge", "NudgeDiff", "ExactIndex", "evaluate", "Evaluation"),
        *("NudgeError", "InputError", "DatasetError", "SimilarityError", "ArtifactError", "CorruptArtifactError"),
        *("MismatchError", "MissingExtraError", "__version__"),
    ),
    "nudge_integrations.errors": (
        *("ArtifactError", "CanaryError", "CorruptArtifactError", "DatasetError", "InputError"),
        *("MismatchError", "MissingExtraError", "NudgeError", "RolloutError", "RolloutInterrupted"),
        *("SimilarityError", "StoreError"),
    ),
    "nudge_integrations.storage": (
        *("Buffer", "Log", "LogContent", "claimed", "exchange", "is_part", "load_files", "make_folder", "move_durably"),
        *("only_writer", "open_regular", "read_regular", "replacing", "save_files", "sync_folder", "this_process"),
        *("write_atomically", "write_durably"),
    ),
    "nudge_integrations.corpus": (
        *("METRICS", "ArrayCorpus", "Corpus", "CorpusVectors", "IdentifiedCorpus", "Matrix", "Metric", "Neighbours"),
        *("as_corpus", "as_matrix", "as_rows"),
        *("parse_metric", "row_lengths", "unit_rows"),
    ),
    "nudge_integrations.solver": (
        *("METHODS", "Candidate", "Curve", "OptionValues", "Options", "PerQuery", "Prepared", "Solution", "prepare"),
        *("solve", "table_of"),
    ),
    "nudge_integrations.query_map": ("Evaluate", "QueryMap", "fit_trained"),
    "nudge_integrations.selection": ("CANDIDATES", "SINGLE_CANDIDATES", "select"),
    "nudge_integrations.dataset": ("RetrievalDataset", "Splits", "ValidationReport", "load_demo"),
    "nudge_integrations.encoding": (
        *("CachedEncoder", "Encoder", "SentenceTransformerEncoder", "bundled_model", "text_hash"),
    ),
    "nudge_integrations.artifact": ("HasFingerprint", "Nudge", "NudgeDiff"),
    "nudge_integrations.index": (
        *("ExactIndex", "Filter", "with_extra_coordinate", "with_zero_coordinate", "without_extra_coordinate"),
    ),
    "nudge_integrations.pipeline": (
        *("METHODS", "QUERY_MAPS", "DocumentChanges", "Health", "Migration", "NewQueryGain", "QueryDrift"),
        *("RefitDetails", "SpaceMap", "Suspect", "bridge", "fit", "fit_space_map", "health"),
        *("labels_over_documents", "migrate", "refit", "refit_details", "similarity_of", "suspects"),
        "tries_query_maps",
    ),
    "nudge_integrations.feedback": (
        *("FORMS", "Feedback", "FeedbackLabels", "FeedbackLog", "FeedbackWeek", "LabelLog", "LoggedFit", "LoggedLabel"),
        *("PositionWeights", "Shown", "Verdict", "by_week", "feedback_unwrapped", "from_judgements", "from_langfuse"),
        *("from_langsmith", "from_lines", "from_phoenix", "from_ubi", "is_feedback", "labels_and_weights"),
        *("read_feedback", "served_by"),
    ),
    "nudge_integrations.scale": (
        *("FileCorpus", "LanceCommit", "RayCorpus", "Rewritten", "Skipped", "merged", "moved_rows", "nudge_lance"),
        *("open_corpus", "over_ray", "restore_lance", "rewrite", "write_moved"),
    ),
    "nudge_integrations.stores": (
        *("Canary", "FusedStore", "LiveStore", "Lockable", "Prediction", "Ranking", "Retries", "Rollout"),
        *("RolloutPlan", "Searchable", "SideBySide", "StoreAdapter", "StoreCorpus", "StoreInfo", "TextSearch"),
        *("Texts", "Transactional", "Verification", "Where", "fit_store", "journals_folder"),
        *("open_store", "ranks_by", "width_of"),
    ),
    "nudge_integrations.testing": (
        *("FailingAdapter", "InjectedFault", "StoreContract", "StoreMachine", "document_ids", "labelled_datasets"),
        *("store_machine", "unit_vectors"),
    ),
    "nudge_integrations.finetune": (
        *("DEVICES", "ParameterCounts", "Plan", "PlannedStrategy", "count_parameters", "finetune_encoder"),
        "plan_finetuning",
    ),
    "nudge_integrations.evaluation": (
        *("DEFAULT_METRICS", "Breakdown", "Comparison", "Difference", "Drift", "Evaluation", "Group", "MovedQuery"),
        *("Run", "RunFolder", "UnmovedRanks", "compare", "drift", "evaluate", "read_run", "write_run"),
    ),
}
FRAMEWORKS = ("torch", "llama_index", "langchain_core", "sentence_transformers", "transformers", "ir_measures", "typer")


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_these(module: str) -> None:
    loaded = importlib.import_module(module)
    assert tuple(loaded.__all__) == PUBLIC[module]
    for name in loaded.__all__:
        assert getattr(loaded, name) is not None


def test_the_top_level_is_in_flow_order_and_names_the_same_things() -> None:
    docstring = nudge_integrations.__doc__ or ""
    drawn = [name for name in PUBLIC["nudge_integrations"] if f"    {name} " in docstring]
    flow = ["RetrievalDataset", "Encoder", "Corpus", "prepare", "solve", "fit", "refit", "ExactIndex", "evaluate"]
    assert drawn == flow
    assert [docstring.index(f"    {name} ") for name in drawn] == sorted(
        docstring.index(f"    {name} ") for name in drawn
    )
    assert set(PUBLIC["nudge_integrations"]) <= set(dir(nudge_integrations))
    assert nudge_integrations.Nudge is importlib.import_module("nudge_integrations.artifact").Nudge


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nudgee'"):
        nudge_integrations.Nudgee  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import nudge_integrations; dir(nudge_integrations)", (*FRAMEWORKS, "numpy", "scipy")),
        ("from nudge_integrations import RetrievalDataset, NudgeError", FRAMEWORKS),
        ("from nudge_integrations import Nudge, ExactIndex", FRAMEWORKS),
        ("from nudge_integrations import fit, solve, evaluate", FRAMEWORKS[1:]),
    ],
)
def test_importing_loads_no_more_than_it_must(statement: str, absent: tuple[str, ...]) -> None:
    program = f"import sys; {statement}; print(*sorted(set(sys.modules) & set({absent!r})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []


def test_the_version_is_the_packages() -> None:
    try:
        assert version("nudge-integrations") == nudge_integrations.__version__
    except PackageNotFoundError:
        pytest.skip("the package is used from its checkout, without being installed")


def test_every_extra_is_proved_in_the_wheel_or_left_out_by_name() -> None:
    wheel = runpy.run_path(str(Path(__file__).with_name("try_wheel.py")))
    extras = tomllib.loads((wheel["ROOT"] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) == (wheel["PROOFS"].keys() - {""}) | wheel["SKIPPED"]
