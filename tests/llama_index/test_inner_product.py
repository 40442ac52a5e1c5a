"""A model that ranks by inner product, in LlamaIndex: by the retriever, and in an index whose store knows cosine."""

from __future__ import annotations

import pytest
from dot_encoder import IDS, DotEncoder, labels, ranking

from nudge_integrations.llama_index import NudgeFinetuneEngine, as_embedding


@pytest.mark.parametrize("queries", [1, 90])
def test_a_retriever_and_an_index_rank_by_inner_product_whatever_the_fit_gained(queries: int) -> None:
    encoder = DotEncoder()
    engine = NudgeFinetuneEngine(labels(queries), as_embedding(encoder), method="nudge-n")
    engine.finetune()
    nudge = engine.nudge
    assert nudge is not None
    assert (nudge.status, nudge.similarity) == ("improved" if queries > 1 else "no_gain", "dot")
    served = ranking(nudge.apply(IDS, encoder.documents), encoder.queries)
    retrievers = engine.as_retriever(similarity_top_k=3), engine.as_index().as_retriever(similarity_top_k=3)
    for row in range(0, 90, 7):
        for retriever in retrievers:
            found = [hit.node.node_id for hit in retriever.retrieve(f"query {row}")]
            assert found == [IDS[best] for best in served[row][:3]]
