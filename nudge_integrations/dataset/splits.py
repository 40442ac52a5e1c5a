"""Which query goes to which part of a split."""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
from collections.abc import Iterable, Mapping, Sequence

from nudge_integrations.dataset.clusters import cluster
from nudge_integrations.errors import DatasetError

logger = logging.getLogger(__name__)


def split_queries(
    by: str,
    queries: Iterable[str],
    qrels: Mapping[str, Mapping[str, float]],
    fractions: Sequence[float],
    seed: int,
    query_vectors: object,
    clusters: int,
) -> list[set[str]]:
    """Share query ids out; see ``RetrievalDataset.split``."""
    every = list(queries)
    only_noes = {query for query in every if _says_only_no(qrels.get(query, {}))}
    judged = [query for query in every if query not in only_noes]
    if by == "query":
        parts = split_by_query(judged, fractions, seed)
    elif by == "document":
        parts = split_by_document(judged, qrels, fractions, seed)
    elif by == "cluster":
        parts = [part - only_noes for part in split_by_cluster(every, fractions, seed, query_vectors, clusters)]
    else:
        raise DatasetError(f"by is {by!r}, expected 'query', 'document' or 'cluster'")
    return [parts[0] | only_noes, *parts[1:]]


def _says_only_no(grades: Mapping[str, float]) -> bool:
    """Say whether a query can be learned from but not judged by: it has noes, and no relevant document."""
    return any(grade < 0 for grade in grades.values()) and not any(grade > 0 for grade in grades.values())


def split_by_query(queries: Iterable[str], fractions: Sequence[float], seed: int) -> list[set[str]]:
    """Share query ids out alone."""
    _check(fractions)
    return _filled(_cut(queries, fractions, seed), fractions)


def split_by_document(
    queries: Iterable[str], qrels: Mapping[str, Mapping[str, float]], fractions: Sequence[float], seed: int
) -> list[set[str]]:
    """Share query ids out so that no document is relevant in two parts."""
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


def split_by_cluster(
    queries: Iterable[str], fractions: Sequence[float], seed: int, query_vectors: object, clusters: int
) -> list[set[str]]:
    """Hold a cluster of query ids out for the last part."""
    _check(fractions)
    names = list(queries)
    if query_vectors is None:
        raise DatasetError("split by cluster needs query_vectors=, one a query in the dataset's order")
    if clusters < 2 or not 0 < fractions[-1] < 1:
        raise DatasetError(
            f"split by cluster holds one of at least 2 clusters out for the last part; got clusters={clusters!r} and a "
            f"last fraction of {fractions[-1]:g}: give it a share, and the other parts the rest"
        )
    members: list[list[str]] = [[] for _ in range(clusters)]
    for query, number in zip(names, cluster(query_vectors, clusters, seed=seed, ids=names).tolist(), strict=True):
        members[number].append(query)
    nearest = min((m for m in members if m), key=lambda m: abs(len(m) / len(names) - fractions[-1]), default=[])
    held_out = set(nearest)
    others = [query for query in names if query not in held_out]
    shares = [fraction / (1 - fractions[-1]) for fraction in fractions[:-1]]
    return _filled([*_cut(others, shares, seed), held_out], fractions)


def _cut(queries: Iterable[str], shares: Sequence[float], seed: int) -> list[set[str]]:
    shuffled = _shuffled(queries, seed)
    cuts = [0, *(round(total * len(shuffled)) for total in itertools.accumulate(shares))]
    return [set(shuffled[start:end]) for start, end in itertools.pairwise(cuts)]


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
