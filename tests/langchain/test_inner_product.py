"""A model that ranks by inner product, in LangChain: ranked so before a fit, after one, and in stores of cosine."""

from __future__ import annotations

import numpy as np
import pytest
from dot_encoder import IDS, TEXTS, DotEncoder, labels, ranking
from langchain_core.vectorstores import InMemoryVectorStore

from nudge_integrations.errors import SimilarityError
from nudge_integrations.langchain import NudgedEmbeddings, NudgeVectorStore, as_embedding, check_store
from nudge_integrations.pipeline import fit


def test_a_store_ranks_by_inner_product_before_a_fit_and_after_one() -> None:
    encoder = DotEncoder()
    store = NudgeVectorStore(encoder)
    store.add_texts(TEXTS, ids=IDS)
    questions = [f"query {row}" for row in range(90)]

    def found() -> list[list[str | None]]:
        return [[document.id for document in store.similarity_search(question, k=5)] for question in questions]

    base = [[IDS[row] for row in rows[:5]] for rows in ranking(encoder.documents, encoder.queries)]
    assert found() == base
    assert store.fit(labels(1)).status == "no_gain"
    assert found() == base
    nudge = store.fit(labels(), method="nudge-n")
    served = ranking(nudge.apply(IDS, encoder.documents), encoder.queries)
    assert found() == [[IDS[row] for row in rows[:5]] for rows in served]


def test_a_store_of_cosine_ranks_by_inner_product_with_the_extra_coordinate_and_is_refused_without() -> None:
    encoder = DotEncoder()
    nudge = fit(labels(), encoder, method="nudge-n")
    embedding = NudgedEmbeddings(as_embedding(encoder), nudge)
    store = InMemoryVectorStore(embedding)
    check_store(store)
    store.add_texts(TEXTS, ids=IDS)
    served = ranking(nudge.apply(IDS, encoder.documents), encoder.queries)
    for row, rows in enumerate(np.asarray(served)):
        found = store.similarity_search(f"query {row}", k=3)
        assert [document.id for document in found] == [IDS[best] for best in rows[:3]]
    without = InMemoryVectorStore(NudgedEmbeddings(as_embedding(encoder), nudge, extra_coordinate=False))
    with pytest.raises(SimilarityError, match="lengths count"):
        check_store(without)
