"""A fit, its labels, rankings and vectors in one folder, to look into later without the model.

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
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as tensor_bytes

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus import as_rows, parse_metric
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.files import question_answer_json
from nudge_integrations.errors import ArtifactError, CorruptArtifactError, DatasetError, InputError
from nudge_integrations.evaluation.comparison import Comparison, compare
from nudge_integrations.evaluation.drift import drift
from nudge_integrations.evaluation.metrics import DEFAULT_METRICS
from nudge_integrations.evaluation.rankings import rankings_of
from nudge_integrations.evaluation.run_files import run_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nudge_integrations.evaluation.report import Report
    from nudge_integrations.feedback import Feedback

__all__ = ["RunFolder"]

_REQUIRED = ("test.json", "train.json", "before.json", "after.json", "embeddings.safetensors", "result.json")
# A report's label -> the key in result.json.
_DETAILS = {"Data": "dataset", "Split": "split", "Model": "encoder"}
_NAMES = ("nudge.json", "vectors.safetensors", "ids.jsonl", *_REQUIRED, "validation.json")


@dataclass(frozen=True, eq=False)
class RunFolder:
    """A fit with everything that it was made from and evaluated on; `nudge fit` writes it, `nudge report` reads it.

    Attributes:
        nudge: The nudge.
        result: The figures, as plain data.
        train: Labels that were learned from.
        validation: Labels that the step was chosen on, if any.
        test: Labels that it was evaluated on.
        before: Test query id -> document ids, best first, with the base vectors.
        after: The same with the nudge.
        documents: (n, d) float32 base vectors, in the order of the test labels' documents.
        queries: (m, d) float32 vectors of the test queries, in their order.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> from nudge_integrations.pipeline import fit
        >>> texts, labels = {"q": "barks?", "r": "woof?"}, {"q": {"b": 1}, "r": {"b": 1}}
        >>> data = RetrievalDataset({"a": "cats", "b": "dogs"}, texts, labels)
        >>> documents, queries = np.eye(2, dtype=np.float32), np.array([[1, 0.9], [1, 0.8]], np.float32)
        >>> nudge = fit(data, "toy", step=0.5, method="nudge-n", document_vectors=documents, query_vectors=queries)
        >>> before, after = {"q": ["a", "b"], "r": ["a", "b"]}, {"q": ["b", "a"], "r": ["b", "a"]}
        >>> run = RunFolder(nudge, {}, data, None, data, before, after, documents, queries)
        >>> with TemporaryDirectory() as folder:
        ...     run.save(folder)
        ...     RunFolder.load(folder).after
        {'q': ['b', 'a'], 'r': ['b', 'a']}
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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all files at once, in place of a run that is there; other files in the folder stay.

        Raises:
            ArtifactError: If files of these names are there that are no such run.
            OSError: If the disk refuses; what was there before is still whole.
        """
        parts = {"train": self.train, "validation": self.validation}
        labels = {
            f"{name}.json": question_answer_json({}, part.queries, part.qrels)
            for name, part in parts.items()
            if part is not None
        }
        texts = {
            **labels,
            "test.json": question_answer_json(self.test.corpus, self.test.queries, self.test.qrels),
            "before.json": run_text(self.before, trec=False),
            "after.json": run_text(self.after, trec=False),
            "result.json": json.dumps(self.result, indent=2) + "\n",
        }
        vectors = tensor_bytes({"documents": self.documents, "queries": self.queries})
        attachments = {name: text.encode("utf-8") for name, text in texts.items()}
        self.nudge.save(path, attachments={**attachments, "embeddings.safetensors": vectors})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Read a run; while another process replaces it, the old one or the new one.

        Raises:
            ArtifactError: If there is no nudge, or a file was altered.
            DatasetError: If there is a nudge alone, without the run that it came from.
        """
        nudge, files = Nudge.load_with_files(path)
        absent = [name for name in _REQUIRED if name not in files]
        if absent:
            raise DatasetError(
                f"{path} holds a nudge without the run that it came from (no {absent[0]}); `nudge fit`, `nudge demo` "
                "and RunFolder.save write both"
            )
        try:
            return _parsed(nudge, files)
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CorruptArtifactError(f"{path} does not hold a whole run ({error}); fit again") from error

    @property
    def metrics(self) -> list[str]:
        """The metrics of the figures; the usual four where there are no figures."""
        return list(self.result.get("before", DEFAULT_METRICS))

    def compare(
        self,
        metrics: Sequence[str] | None = None,
        *,
        ignore_identical_ids: bool = False,
        resamples: int = 10_000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> Comparison:
        """Compare the rankings before and after, also for groups of queries; see `compare`.

        Args:
            metrics: Names with a cutoff, the first of which orders the queries; None takes the usual four.
            ignore_identical_ids: As in `compare`; a run that was fitted with it needs no such thing.
            resamples: Resamples of every interval and test.
            confidence: Level of every interval, between 0 and 1.
            seed: Seed of the resamples and clusters.
        """
        return compare(
            self.before,
            self.after,
            self.test,
            metrics=metrics,
            ignore_identical_ids=ignore_identical_ids,
            train=self.train,
            query_vectors=self.queries,
            resamples=resamples,
            confidence=confidence,
            seed=seed,
        )

    def report(
        self, comparison: Comparison | None = None, *, title: str | None = None, feedback: Feedback | None = None
    ) -> Report:
        """Put together what the fit changed, as `report.report` does, with where the data and the model come from.

        Args:
            comparison: What `compare` returned; None compares by the metrics of the fit.
            title: The report's heading; None names the data and the date.
            feedback: What to show over time; None for the labels that the nudge keeps.
        """
        from nudge_integrations.evaluation.report import report

        comparison = comparison or self.compare(self.metrics)
        return report(
            comparison,
            self.nudge,
            documents=self.documents,
            queries=self.queries,
            drift=drift(
                self.nudge, self.test.document_ids, self.documents, before=comparison.before, after=comparison.after
            ),
            title=title,
            details={label: str(self.result[key]) for label, key in _DETAILS.items() if key in self.result},
            feedback=feedback,
            seed=comparison.seed,
        )

    @staticmethod
    def check_target(path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Refuse a folder that `save` would refuse, before the work that is to be saved.

        Args:
            path: The folder, which may be absent.
            overwrite: Whether a nudge or run that is there may be replaced.

        Raises:
            InputError: If a file of that name is there, files that a run would overwrite and that are no run, or a run
                that is to be kept.
        """
        folder = Path(path)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; give the path of a folder, which may be absent")
        others = [name for name in _NAMES if (folder / name).exists()]
        try:
            ours = {"nudge.json", *Nudge.load_with_files(folder)[1]} if others else set()
        except ArtifactError:
            ours = set()
        if others := [name for name in others if name not in ours]:
            raise InputError(f"{folder} holds {', '.join(others)} of another origin; choose another folder")
        if ours and not overwrite:
            raise InputError(f"{folder} holds a nudge already; choose another folder, or replace it with --force")


def _parsed(nudge: Nudge, files: Mapping[str, bytes]) -> RunFolder:
    # Parsed from the bytes that the manifest vouched for: a file of that name on disk may be of another save by now.
    content = {name: json.loads(data) for name, data in files.items() if name.endswith(".json")}
    test = RetrievalDataset.from_object(content["test.json"])
    vectors = load_tensors(files["embeddings.safetensors"])
    sizes = {"documents": len(test.corpus), "queries": len(test.queries)}
    for name, count in sizes.items():
        if len(as_rows(vectors[name], name, dimension=nudge.dimension)) != count:
            raise ValueError(f"{len(vectors[name])} vectors for {count} {name}")
    for name in ("before.json", "after.json"):
        rankings_of(content[name], test, 1)
    figures = content["result.json"].get("before", {})
    if not isinstance(figures, dict):
        raise ValueError("the figures are no object")
    for metric in figures:
        parse_metric(metric)
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
