"""Code that was written for the framework's former Nudge: the same calls, with another import line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index_doubles import WordEmbedding, found, halves, labelled
from numpy.typing import NDArray

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.llama_index import NudgeFinetuneEngine as Nudge


@dataclass
class Pairs:
    """What such code holds: the fields of the framework's former dataset class, open to change."""

    queries: dict[str, str]
    corpus: dict[str, str]
    relevant_docs: dict[str, list[str]]
    mode: str = "text"


def pairs(dataset: RetrievalDataset) -> Pairs:
    answers = {query: list(judged) for query, judged in dataset.qrels.items()}
    return Pairs(dict(dataset.queries), dict(dataset.corpus), answers)


def retriever_over(corpus: dict[str, str], model: Any, vectors: NDArray[Any] | None = None) -> Any:
    """Nodes with or without vectors in the framework's own index, with an argument that it ignores."""
    nodes = [
        TextNode(id_=i, text=text, embedding=None if vectors is None else vectors[row].tolist())
        for row, (i, text) in enumerate(corpus.items())
    ]
    return VectorStoreIndex(nodes=nodes, embeddings=vectors, embed_model=model).as_retriever(similarity_top_k=10)


def hits(test: Pairs, retriever: Any) -> float:
    return float(np.mean([found(retriever, text)[0] in test.relevant_docs[q] for q, text in test.queries.items()]))


def test_the_calls_of_the_documentation_notebook_still_run() -> None:
    first, test_part = halves(labelled())
    train_part, val_part = halves(first)
    train_dataset, val_dataset, test_dataset = pairs(train_part), pairs(val_part), pairs(test_part)
    base_embed_model = WordEmbedding()

    nudge = Nudge(train_dataset=train_dataset, val_dataset=val_dataset, embed_model=base_embed_model, use_nudge_n=True)
    nudge.finetune()
    vectors = nudge.get_finetuned_corpus_embeddings()
    tuned = retriever_over(train_dataset.corpus, base_embed_model, vectors)
    before = hits(test_dataset, retriever_over(train_dataset.corpus, base_embed_model))
    after = hits(test_dataset, tuned)
    assert after > before + 0.3

    new_train, new_val = (pairs(part) for part in halves(labelled(documents=20, answered=5, seed=3)))
    for new in (new_train, new_val):
        new.queries = {f"new-{query}": text.replace("nickname", "alias") for query, text in new.queries.items()}
        new.relevant_docs = {f"new-{q}": [f"new-{i}" for i in ids] for q, ids in new.relevant_docs.items()}
        new.corpus = {f"new-{i}": text.replace("title", "heading") for i, text in new.corpus.items()}
    nudge.insert_data_and_finetune(new_train_dataset_batch=new_train, new_val_dataset_batch=new_val)
    both = {**train_dataset.corpus, **new_train.corpus}
    tuned = retriever_over(both, base_embed_model, nudge.get_finetuned_corpus_embeddings())
    assert hits(new_val, tuned) > 0.7
    assert hits(test_dataset, tuned) > before + 0.3
