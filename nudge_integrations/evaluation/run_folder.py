"""The run folder of `nudge fit` and `nudge demo`: nudge, labels, rankings and vectors, to read without a model.

    nudge.json, vectors.safetensors, ids.jsonl   the nudge; Nudge.load(folder) reads these
    result.json                                  the figures, as --json prints them
    train.json, validation.json, test.json       the labels of each split, as question-answer JSON; the documents, which
                                                 all share, are in test.json alone
    before.json, after.json                      the documents retrieved for each test query, best first: run files
    embeddings.safetensors                       documents (n, d) and queries (m, d): float32 base vectors in the order
                                                 of test.json

JSON and raw numbers, no pickle. All files lie under the nudge's checksums and appear at once: a byte changed in any of
them and ``Nudge.load`` refuses the folder. ``Nudge.load(folder).save(other)`` gives the nudge without the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as tensor_bytes

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli.runs import run_text
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.files import question_answer_json
from nudge_integrations.errors import CorruptArtifactError, DatasetError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nudge_integrations.cli.measure import Measured
    from nudge_integrations.cli.splits import Splits

__all__ = ["NAMES", "RunFolder", "check_output", "names_in", "read_run_folder", "write_run_folder"]

_RUN = ("test.json", "train.json", "before.json", "after.json", "embeddings.safetensors", "result.json")
NAMES = ("nudge.json", "vectors.safetensors", "ids.jsonl", *_RUN, "validation.json")
"""All files that may be in such a folder."""


@dataclass(frozen=True)
class RunFolder:
    """The content of a run folder.

    Attributes:
        nudge: The nudge.
        result: The figures.
        train: Labels that were learned from.
        validation: Labels that the step was chosen on, if any.
        test: Labels that it was evaluated on.
        before: Test query id -> document ids, best first, with the base vectors.
        after: The same with the nudge.
        documents: (n, d) float32 base vectors.
        queries: (m, d) float32 vectors of the test queries.
    """

    nudge: Nudge
    result: Mapping[str, Any]
    train: RetrievalDataset
    validation: RetrievalDataset | None
    test: RetrievalDataset
    before: Mapping[str, Sequence[str]]
    after: Mapping[str, Sequence[str]]
    documents: NDArray[np.float32]
    queries: NDArray[np.float32]


def write_run_folder(folder: Path, splits: Splits, measured: Measured, result: Mapping[str, Any]) -> None:
    """Write a run to a folder, all files at once, in place of a run that is there.

    Raises:
        ArtifactError: If files of these names are there that are no such run.
        OSError: If the disk refuses; what was there before is still whole.
    """
    parts = {"train": splits.train, "validation": splits.validation}
    labels = {
        name: question_answer_json({}, part.queries, part.qrels) for name, part in parts.items() if part is not None
    }
    texts = {
        **{f"{name}.json": text for name, text in labels.items()},
        "test.json": question_answer_json(splits.test.corpus, splits.test.queries, splits.test.qrels),
        "before.json": run_text(measured.comparison.before.rankings, trec=False),
        "after.json": run_text(measured.comparison.after.rankings, trec=False),
        "result.json": json.dumps(result, indent=2) + "\n",
    }
    vectors = tensor_bytes({"documents": measured.documents, "queries": measured.queries})
    attachments = {name: text.encode("utf-8") for name, text in texts.items()}
    measured.nudge.save(folder, attachments={**attachments, "embeddings.safetensors": vectors})


def names_in(folder: Path) -> list[str]:
    """List the files that lie under the checksums of the nudge in a folder; none where there is no nudge."""
    try:
        content = json.loads((folder / "nudge.json").read_bytes())
        return ["nudge.json", *content["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def check_output(folder: Path | None) -> None:
    """Refuse a folder that a run cannot be written to, before the work starts.

    Raises:
        InputError: If a file of that name is there, or files that a run would overwrite and that are no run.
    """
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} is a file; give the path of a folder, which may be absent")
    others = [name for name in NAMES if name not in names_in(folder) and (folder / name).exists()]
    if others:
        raise InputError(f"--output {folder} holds {', '.join(others)} of another origin; choose another folder")


def read_run_folder(folder: Path) -> RunFolder:
    """Read a run back.

    Raises:
        ArtifactError: If there is no nudge, or a file was altered.
        DatasetError: If there is a nudge alone, without the run that it came from.
    """
    nudge, files = Nudge.load_with_files(folder)
    absent = [name for name in _RUN if name not in files]
    if absent:
        raise DatasetError(
            f"{folder} holds a nudge without the run that it came from (no {absent[0]}); `nudge fit` and `nudge demo` "
            "keep both"
        )
    try:
        return _run_folder(nudge, files)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptArtifactError(f"{folder} does not hold a whole run ({error}); fit again") from error


def _run_folder(nudge: Nudge, files: Mapping[str, bytes]) -> RunFolder:
    # Parsed from the bytes that the manifest vouched for: a file of that name on disk may be of another save by now.
    content = {name: json.loads(data) for name, data in files.items() if name.endswith(".json")}
    test = RetrievalDataset.from_object(content["test.json"])
    vectors = load_tensors(files["embeddings.safetensors"])
    return RunFolder(
        nudge=nudge,
        result=content["result.json"],
        train=_labels(content["train.json"], test),
        validation=_labels(content["validation.json"], test) if "validation.json" in content else None,
        test=test,
        before=content["before.json"],
        after=content["after.json"],
        documents=vectors["documents"],
        queries=vectors["queries"],
    )


def _labels(content: Any, test: RetrievalDataset) -> RetrievalDataset:
    part = RetrievalDataset.from_object({**content, "corpus": {}})
    return RetrievalDataset(test.corpus, part.queries, part.qrels)
