"""Fitting a nudge to LangChain documents: their labels, rewritten queries, and base vectors that are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import Runnable

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.alignment import labels_over
from nudge_integrations.fusion import Bm25, Signal
from nudge_integrations.langchain.encoder import as_encoder
from nudge_integrations.pipeline import fit
from nudge_integrations.pipeline.nudged_index import NudgedIndex
from nudge_integrations.solver import OptionValues

if TYPE_CHECKING:
    from nudge_integrations.encoding import Encoder

__all__ = ["PARENT_KEY", "FitOptions", "QueryTransform", "fit_documents"]

# Where ParentDocumentRetriever and MultiVectorRetriever, by their defaults, write the id of a piece's parent.
PARENT_KEY = "doc_id"

QueryTransform = Runnable[str, str] | Callable[[str], str]


class FitOptions(OptionValues, total=False):
    """Options of `nudge_integrations.fit`, with its meanings and defaults; `Options` says what all others are.

    Attributes:
        validation: Other queries about the same documents, in any form that the dataset may have.
        method: ``"auto"`` by default.
        signals: ``("bm25",)`` adds BM25 to the scores with the weight that is best; none by default.
        duplicates: ``"merge"``, the default, moves documents with the same text as one, ``"keep"`` each by its own
            labels, and ``"error"`` names them where a query asks for one of them.
    """

    validation: RetrievalDataset | Any
    method: str
    signals: Sequence[str | Bm25 | Signal]
    duplicates: Literal["keep", "merge", "error"]


def fit_documents(
    index: NudgedIndex,
    embedding: Embeddings,
    dataset: RetrievalDataset | Any,
    parent_key: str | None,
    query_transform: QueryTransform | None,
    options: FitOptions,
) -> Nudge:
    """Fit a nudge to the documents of an index, from their base vectors; only queries are embedded.

    Args:
        index: The documents; it is not changed.
        embedding: Base embeddings, for the queries.
        dataset: Queries and the documents that answer them; anything that ``RetrievalDataset.from_object`` accepts.
        parent_key: The metadata key that holds the id of a piece's parent; None reads no parents.
        query_transform: Rewrites queries before they are embedded.
        options: How to fit.

    Raises:
        DatasetError: If the dataset has problems, or a relevant document is not there.
    """
    rest: dict[str, Any] = dict(options)
    validation = rest.pop("validation", None)
    texts = index.texts()
    parents = _parents(index, list(texts), parent_key)
    encoder = as_encoder(embedding)
    train = labels_over(RetrievalDataset.from_object(dataset), texts, parents)
    if validation is not None:
        validation = labels_over(RetrievalDataset.from_object(validation), texts, parents)
        rest["validation_query_vectors"] = _query_vectors(validation, encoder, query_transform)
    return fit(
        train,
        encoder,
        validation=validation,
        document_vectors=index.base.vectors,
        query_vectors=_query_vectors(train, encoder, query_transform),
        **rest,
    )


def _parents(index: NudgedIndex, ids: list[str], parent_key: str | None) -> dict[str, str]:
    if parent_key is None:
        return {}
    return {hit.id: str(hit.metadata[parent_key]) for hit in index.get(ids) if parent_key in hit.metadata}


def _query_vectors(dataset: RetrievalDataset, encoder: Encoder, transform: QueryTransform | None) -> Any:
    texts = list(dataset.queries.values())
    if transform is not None:
        texts = transform.batch(texts) if isinstance(transform, Runnable) else [transform(text) for text in texts]
    return encoder.encode_queries(texts)
