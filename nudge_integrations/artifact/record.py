"""The fields of a nudge, and what must hold about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from html import escape
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from nudge_integrations.artifact.values import check_values
from nudge_integrations.corpus import as_rows, row_lengths
from nudge_integrations.errors import InputError
from nudge_integrations.feedback import LabelLog
from nudge_integrations.fusion import Fusion

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HasFingerprint", "NudgeRecord", "fingerprint_of"]


class HasFingerprint(Protocol):
    """Whatever names its embedding model, such as an `Encoder`."""

    @property
    def fingerprint(self) -> str:
        """The identifier of the model."""


def fingerprint_of(encoder: str | HasFingerprint) -> str:
    """Return the fingerprint of an encoder, or the fingerprint that it is given by."""
    return encoder if isinstance(encoder, str) else encoder.fingerprint


@dataclass(frozen=True, eq=False, repr=False)
class NudgeRecord:
    """The result of a fit: which documents moved, where to, what that is worth, and what it was made from.

    Base vectors of the moved documents are kept beside the new ones: they tell vectors of another model, or vectors
    that were nudged already, from the right ones, and bring the old state back. All arrays are read-only copies.

    Attributes:
        ids: r ids of the documents that moved.
        vectors: (r, d) float32: where they moved to. Unit length if ``similarity`` is ``"cosine"``.
        base: (r, d) float32: where they were; unit length unless there is a ``base_norm``.
        text_hashes: r sha256 (hex) of their texts; empty when no texts were given.
        similarity: ``"cosine"``: cosine, inner product and L2 rank alike. ``"dot"``: lengths matter, rank by inner
            product.
        method: The method that was used; ``"none"`` where nothing moves.
        step: How far: an angle in radians for nudge-n and contrastive, else the length of the displacement.
        temperature: The softmax temperature of the contrastive method; None without one.
        metric: What was maximised, such as ``"ndcg@10"``.
        baseline: The metric at step 0, in [0, 1].
        score: The metric at ``step``.
        unseen_baseline: The same for queries for unlabelled documents, at step 0; NaN where not measured.
        unseen_score: The same at ``step``.
        status: ``"improved"``, ``"no_gain"`` or ``"fixed"``.
        reason: The status in words.
        warnings: The warnings of the solver.
        protocol: ``"leave-one-out"`` or ``"validation"``.
        queries: Number of queries that the metric is a mean over.
        encoder: Fingerprint of the encoder whose vectors these are.
        dataset_hash: The hash of the dataset that it was fitted to.
        validation_hash: The hash of the validation dataset; None without one.
        ambiguous_texts: Text hash -> ids, where documents that share a text are not all put in one place: whoever finds
            documents by text cannot tell these apart.
        versions: Package -> version, of what made it.
        created: When, UTC, ISO 8601.
        query_map: (d, d) float32, applied to queries as q' = unit(q + q @ query_map); None without one.
        shift: (d,) float32, added to every document that did not move, which is then normalised; None without one.
        curve: (c, 2) float64: steps, ascending from 0, and the metric from each step on; None without one.
        candidates: Everything that was tried, with what it was worth out of sample: the attributes of a `Candidate` of
            the solver. Print the nudge to see them as a table.
        base_norm: None where documents are ranked by cosine. Where the model ranks by inner product, the largest length
            of any document at the fit: base vectors then keep their lengths, and ``similarity`` is ``"dot"``.
        fusion: The weights of signals, such as BM25, that ``score`` was measured with; None without one.
        labels: The labels that it was fitted to, and those that came since; in the nudge's folder once it is saved.

    Raises:
        InputError: If lengths, shapes or values do not fit together.
    """

    ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    base: NDArray[np.float32]
    text_hashes: tuple[str, ...]
    similarity: Literal["cosine", "dot"]
    method: str
    step: float
    temperature: float | None
    metric: str
    baseline: float
    score: float
    unseen_baseline: float
    unseen_score: float
    status: str
    reason: str
    warnings: tuple[str, ...]
    protocol: str
    queries: int
    encoder: str
    dataset_hash: str
    validation_hash: str | None
    ambiguous_texts: Mapping[str, tuple[str, ...]]
    versions: Mapping[str, str]
    created: str
    query_map: NDArray[np.float32] | None = None
    shift: NDArray[np.float32] | None = None
    curve: NDArray[np.float64] | None = None
    candidates: tuple[Mapping[str, Any], ...] = ()
    base_norm: float | None = None
    fusion: Fusion | None = None
    labels: LabelLog = field(default_factory=LabelLog)

    def __post_init__(self) -> None:
        """Refuse what does not fit together, and copy the arrays."""
        check_values(vars(self))
        if not isinstance(self.labels, LabelLog):
            raise InputError(f"labels must be a LabelLog; got a {type(self.labels).__name__}: LabelLog(path) opens one")
        for name, array in _checked_arrays(self).items():
            if array is not None:
                array = array.copy()
                array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __repr__(self) -> str:
        """Say what moved and what it is worth."""
        mapped = "" if self.query_map is None else ", queries mapped"
        mapped += "" if self.fusion is None else f", {self.fusion},"
        return (
            f"Nudge({len(self.ids)} documents moved{mapped} by {self.method!r}, step={self.step:.4g}, "
            f"similarity={self.similarity!r}, {self.metric} {self.baseline:.4f} -> {self.score:.4f} "
            f"over {self.queries} queries, {self.status})"
        )

    def __str__(self) -> str:
        """Say so, and show everything that was tried."""
        if not self.candidates:
            return repr(self)
        # Late: the solver brings torch, which reading and applying a nudge do not need.
        from nudge_integrations.solver import Candidate, table_of

        return f"{self!r}\n{table_of([Candidate(**candidate) for candidate in self.candidates])}"

    def _repr_html_(self) -> str:
        """Show the same in a notebook: what it is worth, and everything that was tried."""
        cells = {
            "documents moved": f"{len(self.ids):,}",
            "queries": "as they are" if self.query_map is None else "mapped",
            "method": f"{self.method}, step {self.step:.4g}, ranked by {self.similarity}",
            self.metric: f"{100 * self.baseline:.1f} -> {100 * self.score:.1f} over {self.queries:,} queries",
            "unlabelled documents": f"{100 * self.unseen_baseline:.1f} -> {100 * self.unseen_score:.1f}",
            "status": f"{self.status}: {self.reason}",
        }
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in cells.items())
        tried = f"<details><summary>what was tried</summary><pre>{escape(str(self))}</pre></details>"
        return f"<table>{rows}</table>{tried if self.candidates else ''}"

    def __reduce__(self) -> tuple[Any, ...]:
        # What is cached on it are read-only mappings, which cannot be copied to another process.
        return _rebuilt, (type(self), {field.name: getattr(self, field.name) for field in fields(self)})


def _rebuilt(kind: type[NudgeRecord], values: dict[str, Any]) -> NudgeRecord:
    return kind(**values)


def _checked_arrays(nudge: NudgeRecord) -> dict[str, NDArray[Any] | None]:
    if len(set(nudge.ids)) != len(nudge.ids):
        [(twice, _)] = Counter(nudge.ids).most_common(1)
        raise InputError(f"document {twice!r} moved twice; every id must be there once")
    if nudge.text_hashes and len(nudge.text_hashes) != len(nudge.ids):
        raise InputError(
            f"{len(nudge.ids)} ids came with {len(nudge.text_hashes)} text hashes; give one an id, or none"
        )
    vectors = as_rows(nudge.vectors, "nudged vectors", ids=nudge.ids)
    base = as_rows(nudge.base, "base vectors", dimension=vectors.shape[1], ids=nudge.ids)
    of_one_length = {"base": base} if nudge.base_norm is None else {}
    of_one_length |= {"nudged": vectors} if nudge.similarity == "cosine" else {}
    for name, rows in of_one_length.items():
        if (np.abs(row_lengths(rows, name) - 1.0) > 1e-3).any():
            raise InputError(f"{name} vectors must have unit length under similarity {nudge.similarity!r}")
    if nudge.base_norm is not None and (nudge.similarity == "cosine" or nudge.shift is not None):
        raise InputError("a nudge with a base_norm has the similarity 'dot' and no shift")
    if nudge.base_norm is not None and (row_lengths(base, "base") > nudge.base_norm * (1 + 1e-3)).any():
        raise InputError(f"base vectors are longer than base_norm={nudge.base_norm:.6g}")
    square = (
        None if nudge.query_map is None else as_rows(nudge.query_map, "the query map", dimension=len(nudge.query_map))
    )
    shift = None if nudge.shift is None else as_rows(np.atleast_2d(nudge.shift), "the shift")[0]
    for name, array in (("query map", square), ("shift", shift)):
        if array is not None and array.shape[-1] != vectors.shape[1]:
            raise InputError(f"the {name} has {array.shape[-1]} dimensions, the vectors have {vectors.shape[1]}")
    curve = None if nudge.curve is None else np.array(nudge.curve, dtype=np.float64)
    if curve is not None and (curve.ndim != 2 or curve.shape[1] != 2):
        raise InputError(f"the curve has shape {curve.shape}, expected (c, 2): steps and values")
    return {"vectors": vectors, "base": base, "query_map": square, "shift": shift, "curve": curve}
