"""store.refit and retriever.refit: labels over time through the LangChain edge."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from nudge_integrations import RetrievalDataset
from nudge_integrations.errors import InputError
from nudge_integrations.langchain import NudgedEmbeddings, NudgeRetriever, NudgeVectorStore, as_embedding

WORDS = [f"word{number}" for number in range(24)]
TEXTS = {f"n{number}": f"{WORDS[number]} {WORDS[(number + 1) % 24]} {WORDS[(number + 5) % 24]}" for number in range(24)}


def labels(start: int, stop: int) -> RetrievalDataset:
    """Questions about one of eight documents, in words of another."""
    queries = {f"q{n}": f"{WORDS[(n % 8 + 12) % 24]} {WORDS[n % 8]} q{n}" for n in range(start, stop)}
    return RetrievalDataset(TEXTS, queries, {f"q{n}": {f"n{n % 8}": 1.0} for n in range(start, stop)})


def store(encoder: Any) -> NudgeVectorStore:
    made = NudgeVectorStore(encoder)
    made.add_documents([Document(id=i, page_content=text) for i, text in TEXTS.items()])
    return made


def test_refit_is_a_fit_on_everything_and_what_is_served(encoder: Any) -> None:
    grown, together = store(encoder), store(encoder)
    together.fit(labels(0, 50), method="nudge")
    grown.fit(labels(0, 30), method="nudge")
    grown.refit(labels(30, 40))
    nudge = asyncio.run(grown.arefit(labels(40, 50), source="thumbs"))
    assert together.nudge is not None
    assert nudge.ids == together.nudge.ids
    assert np.allclose(nudge.vectors, together.nudge.vectors, atol=1e-6)
    assert grown.nudge is nudge


def test_deleted_documents_make_labels_wait_instead_of_blocking_the_refit(encoder: Any) -> None:
    grown = store(encoder)
    grown.fit(labels(0, 40), method="nudge")
    grown.delete(["n3"])
    nudge = grown.refit(labels(40, 43))
    assert "n3" not in nudge
    assert len(nudge.labels) == 43


def test_a_refit_goes_on_where_all_documents_that_moved_are_gone(encoder: Any) -> None:
    grown = store(encoder)
    before = grown.fit(labels(0, 40), method="nudge")
    grown.delete(list(before.ids))
    grown.add_documents([Document(id="new", page_content="quite new")])
    more = RetrievalDataset({"new": "quite new"}, {"r": "what is new?"}, {"r": {"new": 1}})
    nudge = grown.refit(more, require_gain=True)
    assert grown.nudge is nudge
    assert "r" in nudge.labels.queries


def test_a_retriever_of_a_saved_nudge_is_refitted(encoder: Any, tmp_path: Path) -> None:
    first = store(encoder)
    first.fit(labels(0, 40), method="nudge").save(tmp_path)
    documents = [Document(id=i, page_content=text) for i, text in TEXTS.items()]
    retriever = NudgeRetriever.from_artifact(tmp_path, encoder, documents)
    nudge = retriever.refit(labels(40, 50))
    assert len(nudge.labels) == 50
    assert retriever.nudge is nudge
    other = InMemoryVectorStore(NudgedEmbeddings(as_embedding(encoder), nudge))
    with pytest.raises(InputError, match=r"nudge\.refit"):
        NudgeRetriever(vectorstore=other).refit()


def test_a_store_that_was_not_fitted_says_so(encoder: Any) -> None:
    with pytest.raises(InputError, match="fit"):
        store(encoder).refit(labels(0, 3))
