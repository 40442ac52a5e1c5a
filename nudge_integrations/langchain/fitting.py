"""Fitting a nudge to LangChain documents: their labels, rewritten queries, and base vectors that are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import Runnable, run_in_executor

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus.arrays import checked_device
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.alignment import labels_over, weighted_labels_over
from nudge_integrations.dataset.label_weights import LabelWeights
from nudge_integrations.errors import InputError
from nudge_integrations.feedback import labels_and_weights
from nudge_integrations.fusion import Bm25, Signal
from nudge_integrations.langchain.encoder import as_encoder, fingerprint_of
from nudge_integrations.pipeline import fit, refit, similarity_of
from nudge_integrations.pipeline.nudged_index import NudgedIndex, Snapshot
from nudge_integrations.solver import OptionValues

__all__ = ["PARENT_KEY", "QUERY_VECTORS", "Fit", "FitOptions", "QueryTransform", "Refit", "arewritten", "rewritten"]

# Query vectors that are there already are no option, since the edges embed queries themselves where they are not.
QUERY_VECTORS = ("query_vectors", "validation_query_vectors")

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
        weights: How much labels count; None for what comes with them, as of `Feedback.labels`, else 1.
    """

    validation: RetrievalDataset | Any
    method: str
    signals: Sequence[str | Bm25 | Signal]
    duplicates: Literal["keep", "merge", "error"]
    weights: LabelWeights | None


class Fit:
    """One fit to the documents of an index as they are now: which queries it needs vectors of, and then the nudge.

    Args:
        index: The documents; it is not changed, and may change meanwhile.
        embedding: The base embeddings that made their vectors.
        dataset: Queries and the documents that answer them; anything that ``RetrievalDataset.from_object`` accepts.
        parent_key: The metadata key that holds the id of a piece's parent; None reads no parents.
        options: How to fit.

    Raises:
        DatasetError: If the dataset has problems, or a relevant document is not there.
        InputError: If an option is unknown or cannot be used.
    """

    def __init__(
        self,
        index: NudgedIndex,
        embedding: Embeddings,
        dataset: RetrievalDataset | Any,
        parent_key: str | None,
        options: FitOptions,
    ) -> None:
        rest: dict[str, Any] = dict(options)
        unknown = sorted(set(rest) - set(FitOptions.__annotations__) - {"groups"})
        if unknown:
            known = ", ".join(sorted({*FitOptions.__annotations__, *QUERY_VECTORS, "groups"}))
            raise InputError(f"unknown option {', '.join(map(repr, unknown))} of a fit; expected some of {known}")
        checked_device(rest.get("device"))
        validation = rest.pop("validation", None)
        documents = index.snapshot()
        parents = _parents(documents, parent_key)
        self._fingerprint, self._similarity = fingerprint_of(embedding), similarity_of(as_encoder(embedding))
        self._options, self._vectors = rest, documents.vectors
        given, counts = labels_and_weights(dataset, rest.pop("weights", None), documents.texts)
        self.train, self._weights = weighted_labels_over(given, counts, documents.texts, parents)
        self.validation = None
        if validation is not None:
            self.validation = labels_over(RetrievalDataset.from_object(validation), documents.texts, parents)

    def nudge(self, query_vectors: Any, validation_query_vectors: Any) -> Nudge:
        """Fit to (m, d) vectors of the queries of both datasets; None where there is no validation set.

        Raises:
            InputError: If vectors do not fit the datasets.
        """
        return fit(
            self.train,
            self._fingerprint,
            similarity=self._similarity,
            validation=self.validation,
            document_vectors=self._vectors,
            query_vectors=query_vectors,
            validation_query_vectors=validation_query_vectors,
            weights=self._weights,
            **self._options,
        )


class Refit:
    """One refit to the documents of an index as they are now.

    Args:
        index: The documents.
        embedding: The base embeddings that made their vectors.
        dataset: New labels, or None.
        parent_key: As in `Fit`.
        weights: How much they count; None for what comes with them, else 1.

    Attributes:
        new: The new labels over these documents, or None.

    Raises:
        DatasetError: If none of the documents that new labels are about is there.
    """

    def __init__(
        self,
        index: NudgedIndex,
        embedding: Embeddings,
        dataset: RetrievalDataset | Any | None,
        parent_key: str | None,
        weights: LabelWeights | None = None,
    ) -> None:
        self._documents, self._embedding = index.snapshot(), embedding
        self.new: RetrievalDataset | None = None
        self._weights: LabelWeights | None = None
        if dataset is not None:
            texts, parents = self._documents.texts, _parents(self._documents, parent_key)
            given, counts = labels_and_weights(dataset, weights, texts)
            self.new, self._weights = weighted_labels_over(given, counts, texts, parents)

    def nudge(self, present: Nudge | None, query_vectors: Any, options: dict[str, Any]) -> Nudge:
        """Fit again, with (m, d) vectors of the new queries.

        Raises:
            InputError: If there is no nudge yet, or it keeps no labels.
        """
        if present is None:
            raise InputError("nothing was fitted yet: call fit() first")
        encoder = as_encoder(self._embedding)
        known = {} if encoder.fingerprint != present.encoder else {"encoder": encoder}
        given: dict[str, Any] = {"documents": self._documents.texts, "query_vectors": query_vectors, **known}
        given["weights"] = self._weights
        return refit(present, self.new, self._documents.vectors, **given, **options)


def rewritten(dataset: RetrievalDataset, transform: QueryTransform | None) -> list[str]:
    """Return the queries of a dataset as they are embedded."""
    texts = list(dataset.queries.values())
    if transform is None:
        return texts
    return transform.batch(texts) if isinstance(transform, Runnable) else [transform(text) for text in texts]


async def arewritten(dataset: RetrievalDataset, transform: QueryTransform | None) -> list[str]:
    """Do the same as `rewritten` with the transform's own async path."""
    if isinstance(transform, Runnable):
        return await transform.abatch(list(dataset.queries.values()))
    return await run_in_executor(None, rewritten, dataset, transform)


def _parents(documents: Snapshot, parent_key: str | None) -> dict[str, str]:
    if parent_key is None:
        return {}
    pairs = zip(documents.texts, documents.metadata, strict=True)
    return {identifier: str(entry[parent_key]) for identifier, entry in pairs if parent_key in entry}
