"""Which query goes to which part of a split."""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
from collections.abc import Iterable, Mapping, Sequence

from nudge_integrations.errors import DatasetError

logger = logging.getLogger(__name__)


def split_by_query(
    queries: Iterable[str], qrels: Mapping[str, Mapping[str, float]], fractions: Sequence[float], seed: int
) -> list[set[str]]:
    """Share query ids out; see ``RetrievalDataset.split``."""
    _check(fractions)
    shuffled = _shuffled(queries, seed)
    cuts = [0, *(round(total * len(shuffled)) for total in itertools.accumulate(fractions))]
    return _filled([set(shuffled[start:end]) for start, end in itertools.pairwise(cuts)], fractions)


def split_by_document(
    queries: Iterable[str], qrels: Mapping[str, Mapping[str, float]], fractions: Sequence[float], seed: int
) -> list[set[str]]:
    """Share query ids out so that no document is relevant in two parts; see ``RetrievalDataset.split``."""
    _check(fractions)
    parts: list[set[str]] = [set() for _ in fractions]
    part_of: dict[str, int] = {}
    astray = 0
    for query in _shuffled(queries, seed):
        documents = [document for document, grade in qrels.get(query, {}).items() if grade > 0]
        numbers = {part_of[document] for document in documents if document in part_of}
        if len(numbers) > 1 or not documents:
            astray += 1
            continue
        number = numbers.pop() if numbers else _neediest(parts, fractions)
        part_of.update(dict.fromkeys(documents, number))
        parts[number].add(query)
    if astray:
        logger.warning("split by document: %d queries are in no part, relevant documents in several or nowhere", astray)
    return _filled(parts, fractions)


def _neediest(parts: list[set[str]], fractions: Sequence[float]) -> int:
    """Find the part that lacks most queries, were the next one shared out."""
    total = sum(map(len, parts)) + 1
    return max(range(len(parts)), key=lambda number: fractions[number] * total - len(parts[number]))


def _shuffled(identifiers: Iterable[str], seed: int) -> list[str]:
    """Order ids by a hash of seed and id, which no library version and no order of arrival changes."""

    def draw(identifier: str) -> tuple[bytes, str]:
        return hashlib.sha256(f"{seed}:{identifier}".encode("utf-8", "surrogatepass")).digest(), identifier

    return sorted(identifiers, key=draw)


def _check(fractions: Sequence[float]) -> None:
    if any(not 0 <= fraction <= 1 for fraction in fractions) or not math.isclose(math.fsum(fractions), 1):
        raise DatasetError(f"fractions are {tuple(fractions)}, expected numbers between 0 and 1 that add up to 1")


def _filled(parts: list[set[str]], fractions: Sequence[float]) -> list[set[str]]:
    for number, (part, fraction) in enumerate(zip(parts, fractions, strict=True)):
        if fraction and not part:
            raise DatasetError(
                f"part {number} of the split, a fraction of {fraction:g}, has no query: there are too few queries, or, "
                "splitting by document, too many share documents; ask for other fractions, or split by query"
            )
    return parts
