"""The five best documents of a query before and after, with the beginning of their texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nudge_integrations.evaluation.report.wording import shortened

if TYPE_CHECKING:
    from nudge_integrations.evaluation.comparison import Comparison
    from nudge_integrations.evaluation.report.contents import QueryRow

__all__ = ["opened"]

_TOP, _QUERIES = 5, 2000
# All texts together, in characters, so that the page stays below 3 MB; one is cut between these lengths.
_TEXTS, _SHORTEST, _LONGEST = 900_000, 60, 220


def opened(rows: Sequence[QueryRow], comparison: Comparison) -> tuple[tuple[QueryRow, ...], dict[str, str]]:
    """Add to the queries that changed most what came first before and after.

    Args:
        rows: All queries, largest gain first.
        comparison: Whose rankings they are.

    Returns:
        The rows, and document id -> the beginning of its text, of all documents that are shown.
    """
    known = comparison.before.dataset or comparison.after.dataset
    if known is None:
        return tuple(rows), {}
    most = {id(row) for row in sorted(rows, key=lambda row: -abs(row.change))[:_QUERIES]}
    filled = tuple(_filled(row, comparison, known.qrels) if id(row) in most else row for row in rows)
    ids = {document for row in filled for document in (*row.old_top, *row.new_top)}
    length = max(_SHORTEST, min(_LONGEST, _TEXTS // max(1, len(ids))))
    return filled, {document: shortened(known.corpus.get(document, ""), length) for document in sorted(ids)}


def _filled(row: QueryRow, comparison: Comparison, qrels: Mapping[str, Mapping[str, float]]) -> QueryRow:
    tops = [tuple(side.rankings.get(row.query_id, ())[:_TOP]) for side in (comparison.before, comparison.after)]
    grades = qrels.get(row.query_id, {})
    relevant = tuple(sorted({document for top in tops for document in top if grades.get(document, 0) > 0}))
    return replace(row, old_top=tops[0], new_top=tops[1], relevant=relevant)
