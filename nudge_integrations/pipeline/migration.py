"""migrate: another embedding model, the same labels, and what each model is worth with and without a nudge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nudge_integrations.artifact import Nudge
from nudge_integrations.corpus import as_rows, parse_metric
from nudge_integrations.corpus.counts import whole_number
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights, weights_of_queries
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import InputError
from nudge_integrations.pipeline.base_vectors import document_vectors_of, query_vectors_of
from nudge_integrations.pipeline.document_changes import DocumentChanges, labels_over_documents
from nudge_integrations.pipeline.fitting import fit
from nudge_integrations.pipeline.inner_product import similarity_of
from nudge_integrations.pipeline.refitting import last_options
from nudge_integrations.pipeline.served_figures import served_figures
from nudge_integrations.pipeline.space_map import SpaceMap, fit_space_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Migration", "bridge", "migrate"]

# So many documents, beside all labelled queries, teach the map between two models.
_SAMPLE = 2000


@dataclass(frozen=True, eq=False)
class Migration:
    """A nudge carried over to another model.

    Attributes:
        nudge: The nudge of the new model, fitted to all labels; None while the documents wait to be embedded.
        metric: What the figures are.
        figures: What is served -> the metric on the held-out queries, all served by fits to the other labels.
        standard_errors: What is served -> the standard error of that mean.
        queries: How many queries were held out.
        documents: What became of the documents that labels are about.
        space_map: Takes queries of the new model to the old vectors; None where the old vectors were not given.
        kept: The share of the old nudge's gain that mapped queries keep; None where there is no gain, or no map.
    """

    nudge: Nudge | None
    metric: str
    figures: Mapping[str, float]
    standard_errors: Mapping[str, float]
    queries: int
    documents: DocumentChanges
    space_map: SpaceMap | None = None
    kept: float | None = None

    def __str__(self) -> str:
        lines = [f"{self.metric} on {self.queries} held-out queries"]
        for name, figure in self.figures.items():
            lines.append(f"  {name:<40}{100 * figure:6.1f} +- {100 * self.standard_errors[name]:.1f}")
        if self.kept is not None:
            lines.append(f"  mapped queries keep {self.kept:.0%} of the old nudge's gain ({self.space_map!r})")
        return "\n".join([*lines, f"  {self.documents}"])


def migrate(
    nudge: Nudge,
    encoder: Encoder,
    documents: Mapping[str, str],
    *,
    vectors: Any = None,
    old_vectors: Any = None,
    held_out: float = 0.2,
    seed: int = 0,
    **options: Any,
) -> Migration:
    """Carry the labels of a nudge over to another embedding model, and compare the two on the same queries.

    The new nudge is fitted to all labels. For the comparison a part of the queries is held out of fits of their own.

    Args:
        nudge: The nudge of the old model, with its labels.
        encoder: The new model. All labelled queries are embedded with it.
        documents: Document id -> text, of all documents now.
        vectors: (n, d) base vectors of the new model, in that order; None to embed the documents.
        old_vectors: (n, f) base vectors of the old model; without them only the new one has figures.
        held_out: The part of the labelled queries to compare by.
        seed: For the choice of these.
        **options: Options of `fit` to change; all others are those of the last fit.

    Raises:
        InputError: If vectors do not fit, no label is about a document that is here, or the models are the same.
    """
    if not isinstance(encoder, Encoder):
        raise InputError(f"migrate takes the new model's encoder, which embeds the queries; got {encoder!r:.80}")
    if encoder.fingerprint == nudge.encoder:
        raise InputError(f"{encoder.fingerprint!r} is the model that this nudge is of already: refit() instead")
    work = _Comparison.of(nudge, encoder, documents, old_vectors, held_out, seed, options)
    base = as_rows(document_vectors_of(work.dataset, encoder, vectors), "document vectors", ids=list(documents))
    new = _Side("new model", encoder.fingerprint, base, work.queries, similarity_of(encoder))
    rows = np.random.default_rng(seed).permutation(len(documents))[:_SAMPLE]
    figures, space_map, kept = work.compared(base[rows], rows)
    figures |= work.figures_of(new)[1]
    log = nudge.labels.copy()
    log.keep_vectors(dict(zip(work.dataset.queries, work.queries, strict=True)), encoder.fingerprint)
    given: dict[str, Any] = {"document_vectors": base, "query_vectors": work.queries, "weights": work.weights}
    fitted = fit(work.dataset, encoder, labels=log, **given, **work.options)
    return work.migration(fitted, figures, space_map, kept)


def bridge(
    nudge: Nudge,
    encoder: Encoder,
    documents: Mapping[str, str],
    old_vectors: Any,
    *,
    held_out: float = 0.2,
    seed: int = 0,
    **options: Any,
) -> Migration:
    """Serve queries of a new model on the old vectors while the documents wait to be embedded again.

    Only labelled queries and 2,000 documents are embedded, for the map that takes queries of the new model to the old
    space: ``nudge`` then serves ``migration.space_map.apply(query_vectors)``. How much of its gain that keeps is
    measured on held-out queries.

    Args:
        nudge: The nudge of the old model, with its labels.
        encoder: The new model.
        documents: Document id -> text, of all documents.
        old_vectors: (n, f) base vectors of the old model, in that order.
        held_out: As in `migrate`.
        seed: As in `migrate`.
        **options: As in `migrate`.

    Raises:
        InputError: As `migrate`.
    """
    work = _Comparison.of(nudge, encoder, documents, old_vectors, held_out, seed, options)
    rows = np.random.default_rng(seed).permutation(len(documents))[:_SAMPLE]
    ids = list(documents)
    some = RetrievalDataset({ids[row]: documents[ids[row]] for row in rows}, {}, {})
    sample = as_rows(document_vectors_of(some, encoder, None), "document vectors")
    return work.migration(None, *work.compared(sample, rows))


@dataclass(frozen=True, eq=False)
class _Side:
    """A model with its vectors of all documents and labelled queries."""

    name: str
    fingerprint: str
    documents: NDArray[np.float32]
    queries: NDArray[np.float32]
    similarity: Literal["cosine", "dot"]


Figures = dict[str, "NDArray[np.float64]"]


@dataclass(frozen=True, eq=False)
class _Comparison:
    """The sides of a comparison, and its queries.

    Attributes:
        dataset: All labels over the documents.
        weights: How much each counts; None for all the same.
        train: Those that the compared fits learn from.
        test: Those that they are compared by.
        queries: (m, d) the new model's vectors of all labelled queries.
        old: The old model, where its vectors are there.
        changes: What became of the documents.
        options: The options of all fits.
    """

    dataset: RetrievalDataset
    weights: LabelWeights | None
    train: RetrievalDataset
    test: RetrievalDataset
    queries: NDArray[np.float32]
    old: _Side | None
    changes: DocumentChanges
    options: dict[str, Any]

    @classmethod
    def of(
        cls,
        nudge: Nudge,
        encoder: Encoder,
        documents: Mapping[str, str],
        old_vectors: Any,
        held_out: float,
        seed: int,
        options: Mapping[str, Any],
    ) -> _Comparison:
        dataset, weights, changes = labels_over_documents(nudge.labels, documents)
        whole_number(seed, "seed", 0)
        if not isinstance(held_out, float) or not 0.0 < held_out < 1.0 or len(dataset) < 2:
            raise InputError(
                f"held_out must be between 0 and 1, of 2 queries or more; got {held_out} of {len(dataset)}"
            )
        train, test = dataset.split((1.0 - held_out, held_out), seed=seed)
        queries = as_rows(query_vectors_of(dataset, encoder, None, "query_vectors"), "query vectors")
        old = None
        if old_vectors is not None:
            base = as_rows(old_vectors, "old vectors", ids=list(documents), dimension=nudge.dimension)
            known = nudge.labels.query_vectors(nudge.encoder)
            if missing := [query for query in dataset.queries if query not in known]:
                raise InputError(
                    f"the old model's vector of query {missing[0]!r} (of {len(missing)}) is not kept: refit() first"
                )
            old = _Side(
                "old model",
                nudge.encoder,
                base,
                as_rows([known[query] for query in dataset.queries], "old query vectors", ids=dataset.query_ids),
                "cosine" if nudge.base_norm is None else "dot",
            )
        asked = {name: value for name, value in last_options(nudge).items() if name != "similarity"}
        return cls(dataset, weights, train, test, queries, old, changes, {**asked, **options})

    def figures_of(self, side: _Side) -> tuple[Nudge, Figures]:
        """Return a nudge fitted to the training labels, and the metric of each held-out query without and with it."""
        place = {query: row for row, query in enumerate(self.dataset.queries)}
        train, test = ([place[query] for query in part.queries] for part in (self.train, self.test))
        given: dict[str, Any] = {
            "document_vectors": side.documents,
            "query_vectors": side.queries[train],
            "similarity": side.similarity,
            "weights": weights_of_queries(self.weights, self.train.queries),
        }
        nudge = fit(self.train, side.fingerprint, **given, **self.options)
        metric, how = parse_metric(nudge.metric), {"similarity": side.similarity, **self._identical}
        without, served = (
            served_figures(one, self.test, side.documents, side.queries[test], metric, **how) for one in (None, nudge)
        )
        return nudge, {side.name: without, f"{side.name} + nudge": served}

    @property
    def _identical(self) -> dict[str, Any]:
        return {"ignore_identical_ids": bool(self.options.get("ignore_identical_ids"))}

    def compared(
        self, sample: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> tuple[Figures, SpaceMap | None, float | None]:
        """Return the figures of the old model, the map to it from vectors of some documents, and the share it keeps."""
        if self.old is None:
            return {}, None, None
        nudge, figures = self.figures_of(self.old)
        place = {query: row for row, query in enumerate(self.dataset.queries)}
        train, test = ([place[query] for query in part.queries] for part in (self.train, self.test))
        pairs = [
            np.concatenate([queries[train], documents])
            for queries, documents in ((self.queries, sample), (self.old.queries, self.old.documents[rows]))
        ]
        space_map = fit_space_map(*pairs)
        mapped = space_map.apply(self.queries[test])
        metric = parse_metric(nudge.metric)
        served = served_figures(nudge, self.test, self.old.documents, mapped, metric, **self._identical)
        figures["new queries mapped, old model + nudge"] = served
        base, best = (figures[name].mean() for name in ("old model", "old model + nudge"))
        return figures, space_map, float((served.mean() - base) / (best - base)) if best > base else None

    def migration(
        self, nudge: Nudge | None, figures: Figures, space_map: SpaceMap | None, kept: float | None
    ) -> Migration:
        count = max(1, len(self.test))
        errors = {name: float(values.std(ddof=min(1, count - 1)) / np.sqrt(count)) for name, values in figures.items()}
        metric = self.options.get("metric", "ndcg@10")
        means = {name: float(values.mean()) for name, values in figures.items()}
        return Migration(nudge, metric, means, errors, len(self.test), self.changes, space_map, kept)
