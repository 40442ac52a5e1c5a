"""Which labels hurt: by how much the others, and its own query, would be better off without each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from nudge_integrations.corpus import as_rows, unit_rows
from nudge_integrations.corpus.counts import whole_number
from nudge_integrations.errors import InputError
from nudge_integrations.pipeline.identical import identical_rows
from nudge_integrations.pipeline.refitting import last_options
from nudge_integrations.solver.direction import NEVER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.artifact import Nudge
    from nudge_integrations.feedback import LoggedLabel
    from nudge_integrations.solver import OptionValues

__all__ = ["Suspect", "suspects"]

# The softmax temperature of the loss: one of those that directions try, and near the best on most collections.
_TEMPERATURE = 0.05
_QUERIES_AT_ONCE = 1024


@dataclass(frozen=True)
class Suspect:
    """A label that the others speak against.

    Attributes:
        query_id: The id of its query.
        query: The query.
        document: The id of its document.
        text: The document's text, where it was given.
        grade: The grade that it gives.
        source: Where it comes from.
        time: When it was given.
        cost: How much the softmax cross-entropy of all other queries would fall without it, summed, in nats.
        disagreement: The cross-entropy of its own query for its document, once the label is left out, in nats.
    """

    query_id: str
    query: str
    document: str
    text: str
    grade: float
    source: str
    time: str
    cost: float
    disagreement: float

    @property
    def help(self) -> float:
        """How much lower the loss would be without the label: cost and disagreement together."""
        return self.cost + self.disagreement

    def __str__(self) -> str:
        """Show the label as text, for a person to look at."""
        shown = self.text or "(its text was not given)"
        return (
            f"{self.help:6.2f}  {self.query[:80]!r} -> {self.document!r}: {shown[:120]!r} "
            f"(grade {self.grade:g}, {self.source}, {self.time})"
        )


def suspects(
    nudge: Nudge,
    vectors: Any = None,
    *,
    documents: Mapping[str, str] | None = None,
    most: int = 20,
) -> list[Suspect]:
    """List the labels whose removal helps most, for a person to look at; nothing is fitted and nothing is changed.

    In closed form, from leave-one-out: a document turned towards its queries, as far as the nudge turned it, is turned
    towards all but one of them. What that changes is told by the gradient of the softmax cross-entropy at the served
    vectors, and how well the label's own query still finds the document is added. Labels that are right but hard are
    among them, so look before you delete: ``nudge.labels.delete(query=...)``.

    Args:
        nudge: The nudge, with its labels.
        vectors: (n, d) base vectors of the documents, in their order; None takes the documents that the nudge moved.
        documents: Document id -> text; with vectors it is needed, without them it only shows texts.
        most: How many to list.

    Returns:
        The suspects, worst first.

    Raises:
        InputError: If the nudge keeps no vectors of its queries, or vectors do not fit the documents.

    >>> from nudge_integrations import RetrievalDataset, fit
    >>> corpus, queries = {"a": "cats", "b": "dogs"}, {"p": "meow", "q": "purr", "r": "bark"}
    >>> dataset = RetrievalDataset(corpus, queries, {"p": {"a": 1}, "q": {"a": 1}, "r": {"a": 1}})
    >>> asked = [[1.0, 0.1], [1.0, 0.2], [0.1, 1.0]]
    >>> base = [[1.0, 0.0], [0.0, 1.0]]
    >>> nudge = fit(dataset, "toy", method="nudge-n", step=0.1, document_vectors=base, query_vectors=asked)
    >>> [(one.query, one.document) for one in suspects(nudge, base, documents=corpus, most=1)]
    [('bark', 'a')]
    """
    base, served, ids = _documents(nudge, vectors, documents)
    row_of = {document: row for row, document in enumerate(ids)}
    known = nudge.labels.query_vectors(nudge.encoder)
    labels = [one for one in nudge.labels.current if one.grade > 0 and one.document in row_of and one.query in known]
    if not labels:
        raise InputError("the nudge keeps no labels with vectors of their queries; fit it again, or give vectors=")
    names = list(dict.fromkeys(label.query for label in labels))
    place = {name: row for row, name in enumerate(names)}
    queries = unit_rows(as_rows([known[name] for name in names], "query vectors", ids=names), "queries")
    pairs = _LabelPairs(
        queries,
        base,
        served,
        np.array([place[label.query] for label in labels]),
        np.array([row_of[label.document] for label in labels]),
        identical_rows(names, row_of, cast("OptionValues", last_options(nudge))),
    )
    cost, disagreement = pairs.figures()
    order = np.argsort(-(cost + disagreement), kind="stable")[: whole_number(most, "most")]
    texts, asked = documents or {}, nudge.labels.queries
    return [_suspect(labels[row], asked, texts, float(cost[row]), float(disagreement[row])) for row in order]


def _suspect(
    label: LoggedLabel, asked: Mapping[str, str], texts: Mapping[str, str], cost: float, disagreement: float
) -> Suspect:
    about = label.query, asked[label.query], label.document, texts.get(label.document, "")
    return Suspect(*about, label.grade, label.source, label.time, cost, disagreement)


def _documents(
    nudge: Nudge, vectors: Any, documents: Mapping[str, str] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32], Sequence[str]]:
    """Return base and served vectors (n, d) at unit length, and the ids of the documents."""
    if vectors is None:
        base, served, ids = nudge.base, nudge.vectors, nudge.ids
        if not ids:
            raise InputError("this nudge moved no document, so vectors= and documents= are needed")
    else:
        if documents is None:
            raise InputError("vectors= comes with documents={id: text}, in the same order")
        ids = tuple(documents)
        base = as_rows(vectors, "document vectors", ids=ids, dimension=nudge.dimension)
        served = np.array(base)
        for row, document in enumerate(ids):
            if document in nudge:
                served[row] = nudge.vector(document)
    return unit_rows(base, "document vectors"), unit_rows(served, "nudged vectors"), ids


@dataclass(frozen=True, eq=False)
class _LabelPairs:
    """Labels as pairs of (m, d) queries and (n, d) documents, both of unit length.

    Attributes:
        queries: (m, d) float32.
        base: (n, d) float32, where documents were.
        served: (n, d) float32, where they are.
        query: (p,) the query of each label.
        document: (p,) its document.
        hidden: (m,) the document that each query never finds, -1 for none; None where none has one.
    """

    queries: NDArray[np.float32]
    base: NDArray[np.float32]
    served: NDArray[np.float32]
    query: NDArray[np.int64]
    document: NDArray[np.int64]
    hidden: NDArray[np.int64] | None = None

    def figures(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what each label costs the others, and how much its own query disagrees, (p,) each."""
        placed, without = self._with_and_without()
        gradient, own = np.zeros_like(self.base), np.zeros(len(self.query))
        others = np.zeros(len(self.queries))
        for block, mine, probability, rest in self._blocks():
            others[block] = rest
            own[mine] = probability[self.query[mine] - block.start, self.document[mine]]
            gradient += probability.T @ self.queries[block]
        asked = self.queries[self.query]
        step = without - placed
        cost = -((gradient[self.document] - own[:, None] * asked) * step).sum(axis=1) / _TEMPERATURE
        alone = (asked * without).sum(axis=1) / _TEMPERATURE
        return cost, np.logaddexp(others[self.query], alone) - alone

    def _with_and_without(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where the document of each label is, and where it would be without it, (p, d) each."""
        sums = np.zeros_like(self.base)
        np.add.at(sums, self.document, self.queries[self.query])
        near, far = (np.linalg.norm(self.base + sign * self.served, axis=1) for sign in (-1, 1))
        angle = 2 * np.arctan2(near, far)[self.document]
        base, toward = self.base[self.document], sums[self.document]
        return _turned(base, toward, angle), _turned(base, toward - self.queries[self.query], angle)

    def _blocks(self) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.float32], NDArray[np.float64]]]:
        """Yield blocks of queries: their labels, softmax less labels, and the log of the sum over unlabelled ones."""
        counts = np.bincount(self.query, minlength=len(self.queries))
        for start in range(0, len(self.queries), _QUERIES_AT_ONCE):
            block = slice(start, min(start + _QUERIES_AT_ONCE, len(self.queries)))
            mine = np.flatnonzero((self.query >= block.start) & (self.query < block.stop))
            scores = self.queries[block] @ self.served.T / _TEMPERATURE
            if self.hidden is not None:
                itself = np.flatnonzero(self.hidden[block] >= 0)
                scores[itself, self.hidden[block][itself]] = NEVER
            largest = scores.max(axis=1, keepdims=True)
            weights = np.exp(scores - largest)
            total = weights.sum(axis=1, keepdims=True)
            at = self.query[mine] - block.start, self.document[mine]
            unlabelled = weights.copy()
            unlabelled[at] = 0.0
            with np.errstate(divide="ignore"):
                rest = np.log(unlabelled.sum(axis=1, dtype=np.float64)) + largest[:, 0]
            probability = weights / total
            probability[at] -= 1.0 / counts[self.query[mine]]
            yield block, mine, probability, rest


def _turned(base: NDArray[np.float32], toward: NDArray[np.float32], angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return unit rows turned towards others by an angle, or up to them."""
    along = (base * toward).sum(axis=1, keepdims=True)
    across = toward - along * base
    length = np.linalg.norm(across, axis=1, keepdims=True)
    reached = np.where(length[:, 0] > 1e-6, np.minimum(angle, np.arctan2(length[:, 0], along[:, 0])), 0.0)[:, None]
    turned: NDArray[np.float64] = np.cos(reached) * base + np.sin(reached) * across / np.maximum(length, 1e-12)
    return turned
