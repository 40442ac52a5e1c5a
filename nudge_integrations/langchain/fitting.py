"""A fit on LangChain documents: labels read over them, queries rewritten as they will be, vectors as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import Runnable

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.alignment import labels_over
from nudge_integrations.langchain.embeddings import encoder_of
from nudge_integrations.pipeline import SolverOptions, fit
from nudge_integrations.pipeline.nudged_index import NudgedIndex

if TYPE_CHECKING:
    from nudge_integrations.encoding import Encoder

__all__ = ["FitOptions", "QueryTransform", "fit_documents"]

QueryTransform = Runnable[str, str] | Callable[[str], str]


class FitOptions(SolverOptions, total=False):
    """How to fit; `nudge_integrations.fit` says what each means, and has further ones, which go through as well.

    Attributes:
        validation: Other queries about the same documents; in any form that the dataset may have.
        method: ``"auto"`` unless given.
        metric: ``"ndcg@10"`` unless given.
        step: Taken instead of searched for.
        unseen_weight: 0 .. 1.
        seed: 0 unless given.
        max_seconds: Leave out the query maps that would take longer.
        duplicates: ``"error"`` unless given: documents with one text and different ids are named where a query asks for
            one of them; ``"merge"`` moves them as one, ``"keep"`` each by its own labels.
        progress: Whether to show progress bars.
    """

    validation: RetrievalDataset | Any
    method: str
    metric: str
    step: float | None
    unseen_weight: float
    seed: int
    max_seconds: float | None
    duplicates: Literal["keep", "merge", "error"]
    progress: bool


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
        index: The documents; it stays as it is.
        embedding: Base embeddings, for the queries.
        dataset: Queries and answers; whatever ``RetrievalDataset.from_object`` accepts.
        parent_key: The metadata key of a parent's id, if documents are pieces.
        query_transform: Rewrites queries before they are embedded.
        options: How to fit.

    Raises:
        DatasetError: If the dataset has problems, or asks for documents that are not there.
    """
    rest: dict[str, Any] = dict(options)
    validation = rest.pop("validation", None)
    texts = index.texts()
    parents = _parents(index, list(texts), parent_key)
    encoder = encoder_of(embedding)
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
        **{"duplicates": "error", **rest},
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
