"""Documents that are served with nudges, under any sequence of changes, against a dictionary and a slow search.

Each machine says how its object is filled, fitted, saved and searched; what must hold of all of them is said once.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from langchain_core.documents import Document
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters
from numpy.typing import NDArray

from nudge_integrations import fit, refit
from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import text_hash
from nudge_integrations.errors import InputError, MismatchError
from nudge_integrations.langchain import NudgeVectorStore
from nudge_integrations.llama_index import NudgeFinetuneEngine, NudgeRetriever
from nudge_integrations.pipeline.nudged_index import NudgedIndex

__all__ = ["IndexMachine", "RetrieverMachine", "ServedMachine", "StoreOfDocumentsMachine"]

WORDS = ("cats", "dogs", "birds", "purr", "bark", "sing")
_WORD_VECTORS = np.random.default_rng(5).standard_normal((len(WORDS), 4))
METHODS = ("nudge-n", "nudge-m", "nudge-m+n", "ridge")

ids = st.integers(0, 6).map(lambda number: f"d{number}")
texts = st.sets(st.sampled_from(WORDS), min_size=1, max_size=3).map(lambda words: " ".join(sorted(words)))


def vector_of(text: str) -> NDArray[np.float32]:
    """The sum of its words: of no particular length, and different for different texts."""
    total: NDArray[np.float64] = np.sum([_WORD_VECTORS[WORDS.index(word)] for word in text.split()], axis=0)
    return total.astype(np.float32)


def listed_of(text: str) -> list[float]:
    return [float(value) for value in vector_of(text)]


def kind_of(text: str) -> str:
    return text[0]


class Words(BaseEmbedding):
    """`vector_of` as a model of LlamaIndex."""

    def _get_query_embedding(self, query: str) -> list[float]:
        return listed_of(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return listed_of(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return listed_of(text)


class Encoding:
    """`vector_of` as an encoder."""

    fingerprint = "words"

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([vector_of(text) for text in texts], np.float32).reshape(len(texts), 4)

    encode_queries = encode_documents


@dataclass(frozen=True)
class Found:
    """A document that a search found."""

    id: str
    text: str
    kind: str
    score: float


def served_vector(nudge: Nudge | None, document_id: str, text: str) -> NDArray[np.float64]:
    """Say where a document must be, read off what the nudge holds."""
    base = vector_of(text).astype(np.float64)
    if nudge is None:
        return base
    unit = base / np.linalg.norm(base)
    row = None
    if document_id in nudge.ids:
        row = nudge.ids.index(document_id)
        edited = nudge.text_hashes[row] != text_hash(text)
        row = None if edited and np.linalg.norm(unit - nudge.base[row]) > 1e-3 else row
    elif text_hash(text) in nudge.text_hashes and text_hash(text) not in nudge.ambiguous_texts:
        row = nudge.text_hashes.index(text_hash(text))
    return unit if row is None else nudge.vectors[row].astype(np.float64)


def asked_vector(nudge: Nudge | None, text: str) -> NDArray[np.float64]:
    query = vector_of(text).astype(np.float64)
    if nudge is None or nudge.query_map is None:
        return query
    unit = query / np.linalg.norm(query)
    mapped: NDArray[np.float64] = unit + unit @ nudge.query_map
    return mapped / np.linalg.norm(mapped)


class ServedMachine(RuleBasedStateMachine):
    """Random sequences; a subclass says what is served.

    What must be there is kept in ``held``, id -> text in the order of insertion, and ``nudge``.
    """

    always_nudged: ClassVar[bool] = False

    @initialize(first=st.lists(texts, min_size=3, max_size=5))
    def begin(self, first: list[str]) -> None:
        self._keeping = TemporaryDirectory()
        self.folder = Path(self._keeping.name)
        self.held = {f"d{number}": text for number, text in enumerate(first)}
        self.nudge: Nudge | None = None
        self.earlier: list[Nudge] = []
        self.fill()

    # What a subclass says.

    def fill(self) -> None:
        """Begin with the documents that are held."""
        raise NotImplementedError

    def put(self, documents: Mapping[str, str]) -> None:
        raise NotImplementedError

    def remove(self, gone: Sequence[str]) -> None:
        raise NotImplementedError

    def fitted(self, dataset: RetrievalDataset, method: str, step: float | None) -> Nudge:
        raise NotImplementedError

    def refitted(self, dataset: RetrievalDataset) -> Nudge:
        raise NotImplementedError

    def served_with(self, nudge: Nudge) -> None:
        raise NotImplementedError

    def base_again(self) -> None:
        raise NotImplementedError

    def opened_again(self) -> None:
        """Save, and go on with what is read."""
        raise NotImplementedError

    def copied(self) -> None:
        """Go on with a copy, which other work on the first must not change."""
        raise NotImplementedError

    def search(self, query: str, k: int, kind: str | None) -> list[Found]:
        raise NotImplementedError

    # What happens.

    def dataset(self, data: st.DataObject) -> RetrievalDataset:
        """Draw labels on documents that are there; one query has one id, whenever it is asked."""
        relevant = st.lists(st.sampled_from(sorted(self.held)), min_size=1, max_size=2, unique=True)
        asked = data.draw(st.dictionaries(texts, relevant, min_size=1, max_size=4))
        queries = {f"q {text}": text for text in asked}
        return RetrievalDataset(dict(self.held), queries, {f"q {t}": dict.fromkeys(a, 1.0) for t, a in asked.items()})

    @rule(document_id=ids, text=texts)
    def insert_or_edit(self, document_id: str, text: str) -> None:
        self.put({document_id: text})
        self.held[document_id] = text

    @rule(documents=st.dictionaries(ids, texts, min_size=2, max_size=4))
    def insert_several(self, documents: dict[str, str]) -> None:
        self.put(documents)
        self.held |= documents

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        gone = data.draw(st.lists(st.sampled_from(sorted(self.held)), min_size=1, max_size=3, unique=True))
        self.remove(gone)
        self.held = {document_id: text for document_id, text in self.held.items() if document_id not in gone}

    @precondition(lambda self: len(self.held) > 1)
    @rule(data=st.data(), method=st.sampled_from(METHODS), step=st.sampled_from([0.1, 0.5]))
    def fit(self, data: st.DataObject, method: str, step: float) -> None:
        self._serving(self.fitted(self.dataset(data), method, None if method == "ridge" else step))

    @precondition(lambda self: len(self.held) > 1 and self.nudge is not None)
    @rule(data=st.data())
    def refit(self, data: st.DataObject) -> None:
        self._serving(self.refitted(self.dataset(data)))

    @precondition(lambda self: self.earlier)
    @rule(data=st.data())
    def apply_another(self, data: st.DataObject) -> None:
        nudge = data.draw(st.sampled_from(self.earlier))
        known = any(
            document_id in nudge.ids or text_hash(text) in nudge.text_hashes for document_id, text in self.held.items()
        )
        moves = not known or any(
            not np.allclose(served_vector(nudge, i, t), vector_of(t) / np.linalg.norm(vector_of(t)), atol=1e-7)
            for i, t in self.held.items()
        )
        try:
            self.served_with(nudge)
        except MismatchError:
            assert not known or not moves
            return
        self.nudge = nudge

    @precondition(lambda self: self.nudge is not None and not self.always_nudged)
    @rule()
    def revert(self) -> None:
        self.base_again()
        self.nudge = None

    @rule()
    def reopen(self) -> None:
        self.opened_again()

    @rule()
    def go_on_with_a_copy(self) -> None:
        self.copied()

    def _serving(self, nudge: Nudge) -> None:
        self.nudge = nudge
        self.earlier = [*self.earlier, nudge][-3:]

    # What must hold.

    @invariant()
    def finds_what_a_slow_search_finds(self) -> None:
        if not hasattr(self, "held"):
            return
        for query, k, kind in (("cats purr", 3, None), ("bark", 20, None), ("birds sing", 2, "b")):
            self._check(self.search(query, k, kind), query, k, kind)

    def _check(self, hits: list[Found], query: str, k: int, kind: str | None) -> None:
        asked = asked_vector(self.nudge, query)
        allowed = {i: text for i, text in self.held.items() if kind is None or kind_of(text) == kind}
        scores = {i: float(served_vector(self.nudge, i, text) @ asked) for i, text in allowed.items()}
        assert len({hit.id for hit in hits}) == len(hits) == min(k, len(allowed))
        for hit in hits:
            assert (hit.text, hit.kind) == (self.held[hit.id], kind_of(self.held[hit.id]))
            assert hit.score == pytest.approx(scores[hit.id], abs=2e-5), hit.id
        wanted = sorted(scores.values(), reverse=True)[:k]
        np.testing.assert_allclose([hit.score for hit in hits], wanted, atol=2e-5)
        order = list(self.held)
        for one, other in pairwise(hits):
            assert one.score >= other.score
            assert one.score > other.score or order.index(one.id) < order.index(other.id)

    def teardown(self) -> None:
        if hasattr(self, "_keeping"):
            self._keeping.cleanup()


class IndexMachine(ServedMachine):
    """`NudgedIndex`, which is given vectors."""

    def fill(self) -> None:
        self.index = NudgedIndex()
        self.put(self.held)

    def put(self, documents: Mapping[str, str]) -> None:
        entries = [{"kind": kind_of(text)} for text in documents.values()]
        self.index.insert(list(documents), [vector_of(t) for t in documents.values()], [*documents.values()], entries)

    def remove(self, gone: Sequence[str]) -> None:
        with pytest.raises(InputError):
            self.index.delete([*gone, "nobody"])
        self.index.delete(gone)

    def fitted(self, dataset: RetrievalDataset, method: str, step: float | None) -> Nudge:
        nudge = fit(dataset, Encoding(), method=method, step=step)
        self.index.apply(nudge)
        return nudge

    def refitted(self, dataset: RetrievalDataset) -> Nudge:
        assert self.nudge is not None
        nudge = refit(self.nudge, dataset, encoder=Encoding())
        self.index.apply(nudge)
        return nudge

    def served_with(self, nudge: Nudge) -> None:
        self.index.apply(nudge)

    def base_again(self) -> None:
        self.index.revert()

    def opened_again(self) -> None:
        self.index.save(self.folder / "index")
        self.index = NudgedIndex.load(self.folder / "index")

    def copied(self) -> None:
        former = self.index
        self.index = pickle.loads(pickle.dumps(former))  # noqa: S301
        former.discard(list(self.held))
        other = self.index.copy()
        other.discard(list(self.held))

    def search(self, query: str, k: int, kind: str | None) -> list[Found]:
        where = None if kind is None else {"kind": kind}
        hits = self.index.search(vector_of(query), k, where=where)
        assert sorted(hit.id for hit in self.index.get(["nobody", *self.held])) == sorted(self.held)
        assert (len(self.index), self.index.base.ids) == (len(self.held), list(self.held))
        if self.held:
            np.testing.assert_array_equal(self.index.base.vectors, [vector_of(text) for text in self.held.values()])
        return [Found(hit.id, hit.text, hit.metadata["kind"], hit.score) for hit in hits]


class StoreOfDocumentsMachine(ServedMachine):
    """LangChain's `NudgeVectorStore`."""

    def fill(self) -> None:
        self.store = NudgeVectorStore(Encoding())
        self.put(self.held)

    def put(self, documents: Mapping[str, str]) -> None:
        made = [Document(id=i, page_content=t, metadata={"kind": kind_of(t)}) for i, t in documents.items()]
        assert self.store.add_documents(made) == list(documents)

    def remove(self, gone: Sequence[str]) -> None:
        self.store.delete([*gone, "nobody"])

    def fitted(self, dataset: RetrievalDataset, method: str, step: float | None) -> Nudge:
        return self.store.fit(dataset, method=method, step=step)

    def refitted(self, dataset: RetrievalDataset) -> Nudge:
        return self.store.refit(dataset)

    def served_with(self, nudge: Nudge) -> None:
        self.store.apply(nudge)

    def base_again(self) -> None:
        self.store.revert()

    def opened_again(self) -> None:
        self.store.save_local(self.folder / "store")
        self.store = NudgeVectorStore.load_local(self.folder / "store", Encoding())

    def copied(self) -> None:
        former, nudge = self.store, self.store.nudge
        self.store = former.base_copy()
        former.delete(list(self.held))
        if nudge is not None:
            try:
                self.store.apply(nudge)
            except MismatchError:  # all that it moves are gone or were edited since
                self.nudge = None

    def search(self, query: str, k: int, kind: str | None) -> list[Found]:
        hits = self.store.similarity_search_with_score(query, k=k, filter=None if kind is None else {"kind": kind})
        assert [one.id for one in self.store.get_by_ids(["nobody", *self.held])] == list(self.held)
        assert len(self.store) == len(self.held)
        return [Found(str(hit.id), hit.page_content, hit.metadata["kind"], score) for hit, score in hits]


class RetrieverMachine(ServedMachine):
    """LlamaIndex's `NudgeRetriever`, which an engine makes."""

    always_nudged = True

    def fill(self) -> None:
        first = next(iter(self.held))
        dataset = RetrievalDataset(dict(self.held), {"q cats": "cats"}, {"q cats": {first: 1.0}})
        self._serving(self.fitted(dataset, "nudge-n", 0.3))

    @staticmethod
    def _nodes(documents: Mapping[str, str]) -> list[TextNode]:
        hidden = ["kind"]
        return [
            TextNode(id_=i, text=text, metadata={"kind": kind_of(text)}, excluded_embed_metadata_keys=hidden)
            for i, text in documents.items()
        ]

    def put(self, documents: Mapping[str, str]) -> None:
        self.retriever.insert_nodes(self._nodes(documents))

    def remove(self, gone: Sequence[str]) -> None:
        with pytest.raises(InputError):
            self.retriever.delete_nodes([*gone, "nobody"])
        self.retriever.delete_nodes(gone)

    def fitted(self, dataset: RetrievalDataset, method: str, step: float | None) -> Nudge:
        options: dict[str, Any] = {"method": method, "step": step}
        engine = NudgeFinetuneEngine(dataset, Words(), nodes=self._nodes(self.held), **options)
        engine.finetune()
        return self._of(engine)

    def _of(self, engine: NudgeFinetuneEngine) -> Nudge:
        self.retriever = engine.as_retriever()
        return self.retriever.nudge

    def refitted(self, dataset: RetrievalDataset) -> Nudge:
        assert self.nudge is not None
        engine = NudgeFinetuneEngine.from_artifact(self.nudge, Words(), self._nodes(self.held))
        engine.refit(dataset)
        return self._of(engine)

    def served_with(self, nudge: Nudge) -> None:
        self.retriever = NudgeRetriever(self._nodes(self.held), Words(), nudge)

    def opened_again(self) -> None:
        self.retriever.persist(self.folder / "nodes")
        self.retriever = NudgeRetriever.from_persist_dir(self.folder / "nodes", Words())

    def copied(self) -> None:
        former = self.retriever
        self.retriever = pickle.loads(pickle.dumps(former))  # noqa: S301
        former.delete_nodes(list(self.held))

    def search(self, query: str, k: int, kind: str | None) -> list[Found]:
        assert len(self.retriever) == len(self.held)
        filters = None if kind is None else MetadataFilters(filters=[MetadataFilter(key="kind", value=kind)])
        asked = self.retriever.with_filters(filters)
        asked.similarity_top_k = k
        hits = asked.retrieve(query)
        return [Found(h.node.node_id, h.node.get_content(), h.node.metadata["kind"], h.score or 0.0) for h in hits]
