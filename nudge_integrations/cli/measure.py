"""Fit a nudge and measure it on the test queries. Nothing is printed here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Unpack

from nudge_integrations.evaluation import DEFAULT_METRICS, Comparison, Evaluation, RunFolder, compare, evaluate
from nudge_integrations.fusion import Bm25, LexicalIndex
from nudge_integrations.index import ExactIndex
from nudge_integrations.pipeline import QUERY_MAPS, fit, similarity_of, tries_query_maps
from nudge_integrations.pipeline.nudged_index import NudgedIndex
from nudge_integrations.solver import Options, OptionValues

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nudge_integrations.artifact import Nudge
    from nudge_integrations.dataset import RetrievalDataset, Splits
    from nudge_integrations.encoding import Encoder

__all__ = ["RANKS", "Measured", "evaluate_vectors", "measure", "splits_for"]

RANKS = 200
"""Ranks are known down to here; a document below is only known to be below."""


@dataclass(frozen=True)
class Measured:
    """A nudge, and its metrics on the test queries.

    Attributes:
        nudge: The nudge.
        comparison: The test queries with the base vectors and with the nudged ones.
        seconds: Wall-clock seconds for ``embedding``, ``fitting`` and ``retrieving``.
        documents: (n, d) float32 base vectors, in the corpus's order.
        queries: (m, d) float32 vectors of the test queries, in their order.
    """

    nudge: Nudge
    comparison: Comparison
    seconds: Mapping[str, float]
    documents: NDArray[np.float32]
    queries: NDArray[np.float32]

    def result(self) -> dict[str, Any]:
        """Return the figures as plain data, ready for JSON."""
        return {
            "before": dict(self.comparison.before.means),
            "after": dict(self.comparison.after.means),
            "queries": self.comparison.queries,
            "method": self.nudge.method,
            "step": self.nudge.step,
            "signals": dict(self.nudge.fusion.weights) if self.nudge.fusion else {},
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
        }

    def kept(self, origin: Mapping[str, Any]) -> dict[str, Any]:
        """Return `result` with all differences and where everything came from, as it is kept beside a nudge."""
        differences = {name: difference.to_dict() for name, difference in self.comparison.differences.items()}
        return {**self.result(), "status": self.nudge.status, "differences": differences, **origin}

    def run_folder(self, splits: Splits, result: Mapping[str, Any]) -> RunFolder:
        """Return all that `nudge report` and `nudge compare` need.

        Args:
            splits: What was measured.
            result: The figures to write into it.
        """
        return RunFolder(
            nudge=self.nudge,
            result=result,
            train=splits.train,
            validation=splits.validation,
            test=splits.test,
            before=self.comparison.before.rankings,
            after=self.comparison.after.rankings,
            documents=self.documents,
            queries=self.queries,
        )


def splits_for(splits: Splits, method: str, options: OptionValues, signals: Sequence[str] = ()) -> Splits:
    """Check all that can be checked before anything is encoded, and share labels out as the method needs them.

    Query maps are evaluated by leave-one-out: validation labels are then labels to learn from.

    Raises:
        NudgeError: If `fit` would refuse the labels, the method, the options or the signals.
        MissingExtraError: If bm25s is not installed, and asked for.
    """
    for name in signals:
        LexicalIndex(Bm25.named(name))
    if splits.validation is not None and method in QUERY_MAPS:
        splits = splits.without_validation()
    tries_query_maps(method, options, validation=splits.validation is not None)
    splits.check()
    return splits


def measure(
    splits: Splits,
    encoder: Encoder,
    method: str = "auto",
    *,
    signals: Sequence[str] = (),
    **options: Unpack[OptionValues],
) -> Measured:
    """Fit on train, then rank the test queries with the base vectors and with the nudged ones.

    Args:
        splits: Train, validation (or none) and test, over one corpus.
        encoder: Makes the vectors of documents and queries.
        method: How to fit, as in `fit`.
        signals: What may be added to the dense scores, as in `fit`.
        **options: As in `fit`.

    Returns:
        The nudge and its figures.

    Raises:
        NudgeError: If the data cannot be fitted; see `fit`.
    """
    splits = splits_for(splits, method, options, signals)
    asked_for = Options(**options)
    start = time.perf_counter()
    documents = encoder.encode_documents(list(splits.test.corpus.values()))
    learned = encoder.encode_queries(list(splits.train.queries.values()))
    held_out = None
    if splits.validation is not None:
        held_out = encoder.encode_queries(list(splits.validation.queries.values()))
    queries = encoder.encode_queries(list(splits.test.queries.values()))
    embedded = time.perf_counter()
    nudge = fit(
        splits.train,
        encoder,
        validation=splits.validation,
        method=method,
        signals=signals,
        document_vectors=documents,
        query_vectors=learned,
        validation_query_vectors=held_out,
        weights=splits.train_weights,
        **options,
    )
    fitted = time.perf_counter()
    metrics = tuple(dict.fromkeys((*DEFAULT_METRICS, asked_for.metric)))
    ignore = asked_for.ignore_identical_ids
    similarity = similarity_of(encoder)
    before = evaluate_vectors(
        splits.test, documents, queries, metrics, similarity=similarity, ignore_identical_ids=ignore
    )
    after = evaluate_vectors(splits.test, documents, queries, metrics, nudge, ignore_identical_ids=ignore)
    retrieved = time.perf_counter()
    return Measured(
        nudge=nudge,
        comparison=compare(before, after, splits.test, train=splits.train, seed=asked_for.seed),
        seconds={"embedding": embedded - start, "fitting": fitted - embedded, "retrieving": retrieved - fitted},
        documents=documents,
        queries=queries,
    )


def evaluate_vectors(
    dataset: RetrievalDataset,
    documents: NDArray[np.float32],
    queries: NDArray[np.float32],
    metrics: Sequence[str],
    nudge: Nudge | None = None,
    *,
    similarity: Literal["cosine", "dot"] = "cosine",
    ignore_identical_ids: bool = False,
) -> Evaluation:
    """Retrieve the `RANKS` best documents of every query and evaluate them.

    Args:
        dataset: n documents, m queries and their labels.
        documents: (n, d) float32 base vectors, in the dataset's order.
        queries: (m, d) float32, in the dataset's order.
        metrics: Names with a cutoff.
        nudge: Applied to both, and its signals added; None ranks by the base vectors.
        similarity: What the base vectors are ranked by; a nudge knows for itself.
        ignore_identical_ids: Leave out of each ranking the document that has the query's id.
    """
    ids = dataset.document_ids
    how: Any = {"depth": min(RANKS, len(ids)), "ignore_identical_ids": ignore_identical_ids}
    if nudge is not None and nudge.fusion is not None:
        return evaluate(_fused(dataset, documents, queries, nudge), dataset, metrics, **how)
    if nudge is None:
        index = ExactIndex(ids, documents, similarity=similarity)
    else:
        index = ExactIndex(ids, nudge.apply(ids, documents), similarity=nudge.similarity)
        queries = nudge.transform_queries(queries)
    return evaluate((index, queries), dataset, metrics, **how)


def _fused(
    dataset: RetrievalDataset, documents: NDArray[np.float32], queries: NDArray[np.float32], nudge: Nudge
) -> dict[str, list[str]]:
    """Return query id -> ids of the best documents by vectors and signals, as both edges find them."""
    index = NudgedIndex()
    texts = list(dataset.corpus.values())
    index.insert(dataset.document_ids, documents, texts, [{}] * len(texts))
    index.apply(nudge)
    return {
        query: [hit.id for hit in index.search(vector, RANKS + 1, text=text)]
        for (query, text), vector in zip(dataset.queries.items(), queries, strict=True)
    }
