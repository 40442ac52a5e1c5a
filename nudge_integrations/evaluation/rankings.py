"""Rankings from a run, a function, a retriever of either framework, an index, or vectors.

Frameworks are known by what their objects can do, so that none is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.index import ExactIndex

__all__ = ["Ranking", "Run", "Searcher", "Similarity", "Source", "depth_of", "rankings_of"]

Ranking: TypeAlias = Mapping[str, float] | Sequence[Any]
Run: TypeAlias = Mapping[str, Ranking]
Similarity: TypeAlias = Literal["cosine", "dot"]
QueriesT = TypeVar("QueriesT", contravariant=True)


class Searcher(Protocol[QueriesT]):
    """Finds documents for queries, many at once."""

    def search(self, queries: QueriesT, k: int) -> tuple[Sequence[Sequence[str]], Any]:
        """Return the ids of at most k documents for each query, best first, and something more, such as scores."""


class NodeRetriever(Protocol):
    """A retriever of LlamaIndex."""

    def retrieve(self, query: str, /) -> Sequence[Any]:
        """Return nodes with scores, best first."""


class DocumentRetriever(Protocol):
    """A retriever of LangChain."""

    def invoke(self, query: str, /) -> Sequence[Any]:
        """Return documents, best first."""


class DocumentStore(Protocol):
    """A vector store of LangChain."""

    def similarity_search(self, query: str, /, *, k: int) -> Sequence[Any]:
        """Return at most k documents, best first."""


Source: TypeAlias = (
    Run
    | Callable[[str], Ranking]
    | NodeRetriever
    | DocumentRetriever
    | DocumentStore
    | Searcher[list[str]]
    | tuple[Searcher[Any] | object, object]
)


def rankings_of(
    source: Source,
    dataset: RetrievalDataset,
    depth: int,
    *,
    similarity: Similarity = "cosine",
    ignore_identical_ids: bool = False,
) -> dict[str, tuple[str, ...]]:
    """Retrieve documents for every query of a dataset; see `evaluate` for what a source may be.

    Args:
        source: A retriever, or the run that one returned.
        dataset: Queries, and the documents to find.
        depth: At most this many documents a query.
        similarity: How to compare vectors, if the source is a pair of arrays.
        ignore_identical_ids: Leave out of each ranking the document that has the query's id.

    Returns:
        Query id -> distinct document ids, best first; empty for a query without results.

    Raises:
        InputError: If the source, or what it returns, is no ranking.
        DatasetError: If a run is of other queries, or its documents are of another corpus.
    """
    names = _Names(dataset)
    results: dict[str, tuple[str, ...]] = dict.fromkeys(dataset.queries, ())
    for query, hits in _hits(source, dataset, depth + ignore_identical_ids, similarity):
        results[query] = _ranked(query, hits, names, depth, query if ignore_identical_ids else None)
    first = next((ranking[0] for ranking in results.values() if ranking), None)
    if first is not None and not any(
        document in dataset.corpus for ranking in results.values() for document in ranking
    ):
        raise DatasetError(
            f"none of the documents found is in the dataset's corpus; the first one found is {first!r}, "
            f"the first of the corpus is {next(iter(dataset.corpus))!r}: which id does the retriever return?"
        )
    return results


def depth_of(source: Source, least: int = 100) -> int:
    """Return how deep to look so that a run, which was retrieved already, keeps every rank that it has.

    Args:
        source: A run, or what retrieves; as in `evaluate`.
        least: The depth for what retrieves, and for shorter runs.

    Example:
        >>> depth_of({"q": ["a", "b", "c"]}, least=2)
        3
    """
    found = source.values() if isinstance(source, Mapping) else ()
    return max(least, *(len(ranking) for ranking in found if hasattr(ranking, "__len__")), 0)


def _hits(
    source: Any, dataset: RetrievalDataset, depth: int, similarity: Similarity
) -> Iterable[tuple[str, Iterable[Any]]]:
    if isinstance(source, Mapping):
        return _of_run(source, dataset)
    if isinstance(source, tuple) and len(source) == 2:
        given, query_vectors = source
        index = given if hasattr(given, "search") else ExactIndex(dataset.document_ids, given, similarity=similarity)
        return _searched(index, query_vectors, dataset, depth)
    retrieve = _query_function(source, depth)
    if retrieve is not None:
        return ((query, retrieve(text)) for query, text in dataset.queries.items())
    if hasattr(source, "search"):
        return _searched(source, list(dataset.queries.values()), dataset, depth)
    raise InputError(
        f"cannot evaluate a {type(source).__name__}: give a run {{query id: {{document id: score}}}}, a function from "
        "a query's text to document ids, a LlamaIndex or LangChain retriever, an object with search(texts, k), or "
        "(document vectors, query vectors)"
    )


def _query_function(source: Any, depth: int) -> Callable[[str], Any] | None:
    """Return a function from one query text to its results, if the source is or has one."""
    for method in ("retrieve", "invoke"):  # LlamaIndex's retrievers, LangChain's
        if hasattr(source, method):
            retrieve: Callable[[str], Any] = getattr(source, method)
            return retrieve
    if hasattr(source, "similarity_search"):  # LangChain's vector stores, whose search() is another thing
        return partial(source.similarity_search, k=depth)
    return source if callable(source) and not hasattr(source, "search") else None


def _of_run(run: Mapping[str, Any], dataset: RetrievalDataset) -> list[tuple[str, Any]]:
    if run and dataset.queries.keys().isdisjoint(run):
        raise DatasetError(
            f"the run answers none of the dataset's {len(dataset)} queries; its first query id is "
            f"{next(iter(run))!r}, the dataset's is {next(iter(dataset.queries), None)!r}"
        )
    return [(query, results) for query, results in run.items() if query in dataset.queries]


def _searched(searcher: Any, queries: Any, dataset: RetrievalDataset, depth: int) -> Iterable[tuple[str, Any]]:
    results, _ = searcher.search(queries, depth)
    if len(results) != len(dataset):
        raise InputError(f"search returned {len(results)} rankings for {len(dataset)} queries")
    return zip(dataset.queries, results, strict=True)


class _Names:
    """The names by which those that find documents know them."""

    def __init__(self, dataset: RetrievalDataset) -> None:
        self._corpus = dataset.corpus
        self._by_text: dict[str, str] | None = None

    def of(self, hit: Any) -> Any:
        """Return the id of a hit: one that the corpus knows, if it goes by one."""
        if isinstance(hit, str):
            return hit
        names = [name for name in _names(hit) if name is not None]
        known = next((name for name in names if name in self._corpus), None)
        if known is None and (text := _text(hit)) is not None:
            known = self._of_text(text)
        return known if known is not None else next(iter(names), hit)

    def _of_text(self, text: str) -> str | None:
        if self._by_text is None:
            # Documents that share a text are found by it under the id of the first.
            self._by_text = {text: document for document, text in reversed(list(self._corpus.items()))}
        return self._by_text.get(text)


def _text(hit: Any) -> str | None:
    """Return the text of a LangChain document or of a LlamaIndex node; None for what has none."""
    get_content = getattr(getattr(hit, "node", None), "get_content", str)
    text = getattr(hit, "page_content", None) or get_content()
    return text if isinstance(text, str) and text else None


def _names(hit: Any) -> Iterator[str | None]:
    """Give the ids of a LlamaIndex hit (node, then the document it was cut from) or of a LangChain document."""
    if hasattr(hit, "node"):
        yield hit.node.node_id
        yield hit.node.ref_doc_id
    elif hasattr(hit, "page_content"):
        yield hit.id
        yield hit.metadata.get("_id")  # where some stores have it


def _ranked(query: str, results: Any, names: _Names, depth: int, ignored: str | None) -> tuple[str, ...]:
    """Return at most ``depth`` distinct document ids, best first, without the one to ignore."""
    if isinstance(results, str | bytes) or not isinstance(results, Iterable):
        raise InputError(f"query {query!r}: expected document ids or {{document id: score}}; got {results!r}")
    if isinstance(results, Mapping):
        try:
            scores = {document: float(score) for document, score in results.items()}
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"query {query!r}: a score is no number: {error}") from error
        if any(math.isnan(score) for score in scores.values()):
            raise InputError(f"query {query!r}: a score is NaN, which has no place in a ranking")
        results = sorted(scores, key=lambda document: -scores[document])
    ids = [names.of(hit) for hit in results]
    odd = [document for document in ids if not isinstance(document, str)]
    if odd:
        raise InputError(f"query {query!r}: document ids must be strings; got {odd[0]!r} ({type(odd[0]).__name__})")
    return tuple(islice((document for document in dict.fromkeys(ids) if document != ignored), depth))
