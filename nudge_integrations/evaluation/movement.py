"""The queries that moved: which relevant document, from which rank to which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nudge_integrations.dataset import RetrievalDataset
    from nudge_integrations.evaluation.metrics import Evaluation

__all__ = ["MovedQuery", "moved_queries"]


@dataclass(frozen=True)
class MovedQuery:
    """A query whose value or whose relevant document's rank changed.

    Attributes:
        query_id: The query.
        text: Its text.
        before: Its value of the metric, in [0, 1].
        after: The same with the other ranking.
        document_id: The relevant document that rose most (fell most, where the query lost) by reciprocal
            rank; None where rankings were not kept.
        old_rank: The document's rank before, from 1; None when it was not retrieved.
        new_rank: Its rank after.
    """

    query_id: str
    text: str
    before: float
    after: float
    document_id: str | None
    old_rank: int | None
    new_rank: int | None

    @property
    def change(self) -> float:
        """How much the value rose, in [-1, 1]."""
        return self.after - self.before

    @property
    def rank_change(self) -> float:
        """How much the document's reciprocal rank rose, in [-1, 1]: from second to first is more than from 30 to 20."""
        return _reciprocal(self.new_rank) - _reciprocal(self.old_rank)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, ready for JSON."""
        return asdict(self)


def moved_queries(
    before: Evaluation, after: Evaluation, dataset: RetrievalDataset | None, metric: str
) -> tuple[MovedQuery, ...]:
    """List every query that changed, from the largest gain to the largest loss.

    Args:
        before: An evaluation of the same queries as ``after``, with that metric.
        after: The other.
        dataset: The dataset of both; without it texts and documents stay unknown.
        metric: Whose values order the queries; equal ones are ordered by the change of reciprocal rank, then by id.

    Returns:
        The queries whose value, or a relevant document's rank, changed.
    """
    changed = []
    for query, old in before.per_query[metric].items():
        ranks = _ranks(before.rankings.get(query, ())), _ranks(after.rankings.get(query, ()))
        moved = _moved(query, (old, after.per_query[metric][query]), ranks, dataset)
        if moved is not None:
            changed.append(moved)
    return tuple(sorted(changed, key=lambda one: (-one.change, -one.rank_change, one.query_id)))


def _moved(
    query: str,
    values: tuple[float, float],
    ranks: tuple[Mapping[str, int], Mapping[str, int]],
    dataset: RetrievalDataset | None,
) -> MovedQuery | None:
    (old, new), (old_ranks, new_ranks) = values, ranks
    grades: Mapping[str, float] = {} if dataset is None else dataset.qrels.get(query, {})
    relevant = [document for document, grade in grades.items() if grade > 0]
    rises = {d: _reciprocal(new_ranks.get(d)) - _reciprocal(old_ranks.get(d)) for d in relevant}
    rises = {document: rise for document, rise in rises.items() if rise}
    if old == new and not rises:
        return None
    direction = (new > old) - (new < old)
    chosen = max(rises, key=lambda d: rises[d] * direction if direction else abs(rises[d]), default=None)
    return MovedQuery(
        query_id=query,
        text="" if dataset is None else dataset.queries[query],
        before=old,
        after=new,
        document_id=chosen,
        old_rank=None if chosen is None else old_ranks.get(chosen),
        new_rank=None if chosen is None else new_ranks.get(chosen),
    )


def _ranks(ids: Sequence[str]) -> dict[str, int]:
    return {document: rank for rank, document in enumerate(ids, start=1)}


def _reciprocal(rank: int | None) -> float:
    return 0.0 if rank is None else 1 / rank
