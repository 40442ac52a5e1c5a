"""Fit a nudge and measure it on the test queries. Nothing is printed here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nudge_integrations.errors import InputError
from nudge_integrations.evaluation import DEFAULT_METRICS, Comparison, Evaluation, RunFolder, compare, evaluate
from nudge_integrations.index import ExactIndex
from nudge_integrations.pipeline import METHODS, QUERY_MAPS, fit
from nudge_integrations.solver.metrics import parse_metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nudge_integrations.artifact import Nudge
    from nudge_integrations.dataset import RetrievalDataset, Splits
    from nudge_integrations.encoding import Encoder

__all__ = ["RANKS", "Measured", "Options", "evaluate_vectors", "measure"]

RANKS = 200
"""Ranks are known down to here; a document below is only known to be below."""


@dataclass(frozen=True)
class Options:
    """How to fit.

    Attributes:
        method: A method of `fit`. Query maps are evaluated by leave-one-out: validation labels count as train labels.
        metric: What the step maximises, such as ``"ndcg@10"``.
        seed: Seed of everything that is drawn.
        unseen_weight: 0 to 1, as in `solve`.
        max_seconds: Query maps that would take longer are left out; None leaves out none.
    """

    method: str = "auto"
    metric: str = "ndcg@10"
    seed: int = 0
    unseen_weight: float = 0.0
    max_seconds: float | None = None

    def check(self) -> None:
        """Refuse what `solve` would refuse, before anything is encoded.

        Raises:
            InputError: If a method or metric is unknown, or the weight is out of range.
        """
        parse_metric(self.metric)
        if self.method not in METHODS:
            raise InputError(f"unknown method {self.method!r}; expected one of {', '.join(METHODS)}")
        if not 0 <= self.unseen_weight <= 1:
            raise InputError(f"unseen_weight must be between 0 and 1; got {self.unseen_weight}")


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
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
        }

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
    options.check()
    splits.check()
    if splits.validation is not None and options.method in QUERY_MAPS:
        splits = replace(splits, train=splits.train.merge(splits.validation), validation=None)
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
        method=options.method,
        metric=options.metric,
        unseen_weight=options.unseen_weight,
        seed=options.seed,
        max_seconds=options.max_seconds,
        document_vectors=documents,
        query_vectors=learned,
        validation_query_vectors=held_out,
        progress=progress,
    )
    fitted = time.perf_counter()
    metrics = tuple(dict.fromkeys((*DEFAULT_METRICS, options.metric)))
    before = evaluate_vectors(splits.test, documents, queries, metrics)
    after = evaluate_vectors(splits.test, documents, queries, metrics, nudge)
    retrieved = time.perf_counter()
    return Measured(
        nudge=nudge,
        comparison=compare(before, after, splits.test, train=splits.train, seed=options.seed),
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
) -> Evaluation:
    """Retrieve the `RANKS` best documents of every query and evaluate them.

    Args:
        dataset: n documents, m queries and their labels.
        documents: (n, d) float32 base vectors, in the dataset's order.
        queries: (m, d) float32, in the dataset's order.
        metrics: Names with a cutoff.
        nudge: Applied to both; None ranks by the base vectors.
    """
    ids = dataset.document_ids
    if nudge is None:
        index = ExactIndex(ids, documents)
    else:
        index = ExactIndex(ids, nudge.apply(ids, documents), similarity=nudge.similarity)
        queries = nudge.transform_queries(queries)
    return evaluate((index, queries), dataset, metrics, depth=min(RANKS, len(index)))
