"""What a nudge is worth on queries it has not seen: figures, and nothing that is printed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nudge_integrations.evaluation import DEFAULT_METRICS, evaluate
from nudge_integrations.index import ExactIndex
from nudge_integrations.pipeline import fit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nudge_integrations.artifact import Nudge
    from nudge_integrations.cli.splits import Splits
    from nudge_integrations.dataset import RetrievalDataset
    from nudge_integrations.encoding import Encoder

__all__ = ["RANKS", "Change", "Measured", "Options", "changes", "measure"]

RANKS = 200
"""Ranks are known down to here; a document below is only known to be below."""

Run = Mapping[str, Sequence[str]]
"""Query id -> document ids, best first."""


@dataclass(frozen=True)
class Options:
    """How to fit.

    Attributes:
        method: A method of `solve`, or ``"auto"``.
        metric: What the step maximises, such as ``"ndcg@10"``.
        seed: Seed of everything that is drawn.
        unseen_weight: 0 to 1, as in `solve`.
    """

    method: str = "auto"
    metric: str = "ndcg@10"
    seed: int = 0
    unseen_weight: float = 0.0


@dataclass(frozen=True)
class Change:
    """A test query whose relevant document moved in the ranking.

    Attributes:
        query: The query's text.
        document: The document's id.
        before: Its rank at first, from 1; None when below `RANKS`.
        after: Its rank with the nudge.
    """

    query: str
    document: str
    before: int | None
    after: int | None

    @property
    def gain(self) -> float:
        """Difference of reciprocal ranks: from second to first counts more than from 30th to 20th."""
        return (1 / self.after if self.after else 0.0) - (1 / self.before if self.before else 0.0)


@dataclass(frozen=True)
class Measured:
    """A nudge, and what it is worth on the test queries.

    Attributes:
        nudge: The nudge.
        before: Metric -> mean over the test queries in [0, 1], with the base vectors.
        after: The same, with the nudged vectors.
        queries: Number of test queries.
        seconds: Wall-clock seconds for ``embedding``, ``fitting`` and ``retrieving``.
        changes: Test queries whose relevant document changed its rank, largest gain first.
    """

    nudge: Nudge
    before: Mapping[str, float]
    after: Mapping[str, float]
    queries: int
    seconds: Mapping[str, float]
    changes: Sequence[Change]

    def result(self) -> dict[str, Any]:
        """Return the figures as plain data, ready for JSON."""
        return {
            "before": dict(self.before),
            "after": dict(self.after),
            "queries": self.queries,
            "method": self.nudge.method,
            "step": self.nudge.step,
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
        }


def measure(splits: Splits, encoder: Encoder, options: Options, *, progress: bool = False) -> Measured:
    """Fit on train, then rank the test queries with the base vectors and with the nudged ones.

    Args:
        splits: Train, validation (or none) and test, over one corpus.
        encoder: Makes the vectors of documents and queries.
        options: How to fit.
        progress: Whether fitting shows a progress bar on stderr.

    Returns:
        The nudge and its figures.

    Raises:
        NudgeError: If the data cannot be fitted; see `fit`.
    """
    start = time.perf_counter()
    documents = encoder.encode_documents(list(splits.test.corpus.values()))
    learned = encoder.encode_queries(list(splits.train.queries.values()))
    held_out = None
    if splits.validation is not None:
        held_out = encoder.encode_queries(list(splits.validation.queries.values()))
    asked = encoder.encode_queries(list(splits.test.queries.values()))
    embedded = time.perf_counter()
    nudge = fit(
        splits.train,
        encoder,
        validation=splits.validation,
        method=options.method,
        metric=options.metric,
        unseen_weight=options.unseen_weight,
        seed=options.seed,
        document_vectors=documents,
        query_vectors=learned,
        validation_query_vectors=held_out,
        progress=progress,
    )
    fitted = time.perf_counter()
    ids = splits.test.document_ids
    before = _run(ExactIndex(ids, documents), splits.test, asked)
    nudged = ExactIndex(ids, nudge.apply(ids, documents), similarity=nudge.similarity)
    after = _run(nudged, splits.test, nudge.transform_queries(asked))
    retrieved = time.perf_counter()

    metrics = tuple(dict.fromkeys((*DEFAULT_METRICS, options.metric)))
    return Measured(
        nudge=nudge,
        before=dict(evaluate(before, splits.test, metrics).means),
        after=dict(evaluate(after, splits.test, metrics).means),
        queries=len(splits.test),
        seconds={"embedding": embedded - start, "fitting": fitted - embedded, "retrieving": retrieved - fitted},
        changes=changes(before, after, splits.test),
    )


def changes(before: Run, after: Run, dataset: RetrievalDataset) -> list[Change]:
    """List the queries whose relevant document changed its rank, largest gain first.

    Of several relevant documents of a query, the one that gained or lost most stands for it.

    Args:
        before: Query id -> document ids, best first, with the base vectors.
        after: The same with the nudge.
        dataset: The judgements.

    Returns:
        One change a query; queries whose relevant documents stayed where they were are left out.

    Example:
        >>> from nudge_integrations.dataset import RetrievalDataset
        >>> dataset = RetrievalDataset({"a": "cats", "b": "dogs"}, {"q": "who barks?"}, {"q": {"b": 1}})
        >>> changes({"q": ["a", "b"]}, {"q": ["b", "a"]}, dataset)
        [Change(query='who barks?', document='b', before=2, after=1)]
    """
    found = []
    for query, judged in dataset.qrels.items():
        old, new = _ranks(before.get(query, ())), _ranks(after.get(query, ()))
        relevant = [document for document, grade in judged.items() if grade > 0]
        moved = [
            Change(dataset.queries[query], d, old.get(d), new.get(d)) for d in relevant if old.get(d) != new.get(d)
        ]
        if moved:
            found.append(max(moved, key=lambda change: abs(change.gain)))
    return sorted(found, key=lambda change: (-change.gain, -(change.before or RANKS + 1)))


def _ranks(ids: Sequence[str]) -> dict[str, int]:
    return {document: rank for rank, document in enumerate(ids, start=1)}


def _run(index: ExactIndex, dataset: RetrievalDataset, queries: NDArray[np.float32]) -> Run:
    found, _ = index.search(queries, min(RANKS, len(index)))
    return dict(zip(dataset.query_ids, found, strict=True))
