"""SciFact through the public classes: JSON in, retriever out, the solver's figures, in this process and another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from numpy.typing import NDArray

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.evaluation import evaluate
from nudge_integrations.llama_index import NudgeFinetuneEngine, evaluate_retriever
from nudge_integrations.solver import solve

pytest.importorskip("ir_measures", reason="ir-measures is not installed")

METRICS = ("ndcg@10", "recall@10")


class CarriedEmbedding(BaseEmbedding):
    """The MiniLM vectors that a collection carries, found by text; every call is counted."""

    _vectors: dict[str, list[float]] = PrivateAttr()
    _batches: list[int] = PrivateAttr(default_factory=list)
    _singles: list[str] = PrivateAttr(default_factory=list)

    def __init__(self, folder: Path) -> None:
        super().__init__(model_name="all-MiniLM-L6-v2", embed_batch_size=512)
        train, test = (RetrievalDataset.from_beir(folder, split) for split in ("train", "test"))
        queries = [json.loads(line)["text"] for line in (folder / "queries.jsonl").read_text("utf-8").splitlines()]
        texts = [*queries, *train.corpus.values()]
        arrays = [np.load(folder / "minilm" / f"{name}.f16.npy").astype(np.float32) for name in ("queries", "corpus")]
        self._vectors = dict(zip(texts, np.concatenate(arrays).tolist(), strict=True))
        missing = [text for text in test.queries.values() if text not in self._vectors]
        assert not missing

    @property
    def batches(self) -> list[int]:
        return self._batches

    @property
    def singles(self) -> list[str]:
        return self._singles

    def array(self, texts: list[str]) -> NDArray[np.float32]:
        return np.asarray([self._vectors[text] for text in texts], dtype=np.float32)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        self._batches.append(len(texts))
        return [self._vectors[text] for text in texts]

    def _get_text_embedding(self, text: str) -> list[float]:
        self._singles.append(text)
        return self._vectors[text]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._vectors[query]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._vectors[query]


def run_of(dataset: RetrievalDataset, documents: NDArray[np.float32], model: CarriedEmbedding) -> dict[str, list[str]]:
    """Rank by hand, in numpy."""
    scores = model.array(list(dataset.queries.values())).astype(np.float64) @ documents.astype(np.float64).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return {
        query: [dataset.document_ids[row] for row in rows]
        for query, rows in zip(dataset.queries, order.tolist(), strict=True)
    }


def test_json_in_retriever_out(collection: Callable[[str], Path], tmp_path: Path) -> None:
    folder = collection("scifact")
    train, test = (RetrievalDataset.from_beir(folder, split) for split in ("train", "test"))
    train.to_json(tmp_path / "train.json")
    model = CarriedEmbedding(folder)

    engine = NudgeFinetuneEngine(tmp_path / "train.json", model, method="nudge-n")
    engine.finetune()
    assert sum(model.batches) == len(train.corpus)  # each document once,
    assert len(model.batches) == -(-len(train.corpus) // 512)  # in as few batches as there can be,
    assert model.singles == []  # and none by itself
    after = evaluate_retriever(engine.as_retriever(similarity_top_k=10), test, METRICS)
    untouched = NudgeFinetuneEngine(tmp_path / "train.json", model, method="nudge-n", step=0.0)
    untouched.finetune()
    before = evaluate_retriever(untouched.as_retriever(similarity_top_k=10), test, METRICS)

    documents = model.array(list(train.corpus.values()))
    solution = solve(documents, model.array(list(train.queries.values())), train.relevance(), method="nudge-n")
    unit = documents / np.linalg.norm(documents, axis=1, keepdims=True)
    assert engine.nudge is not None
    np.testing.assert_array_equal(engine.nudge.vectors, solution.vectors)
    assert after.means == pytest.approx(evaluate(run_of(test, solution.apply(documents), model), test, METRICS).means)
    assert before.means == pytest.approx(evaluate(run_of(test, unit, model), test, METRICS).means)
    assert before.means["ndcg@10"] == pytest.approx(0.645, abs=0.005)
    assert after.means["ndcg@10"] > before.means["ndcg@10"] + 0.01

    engine.save(tmp_path / "nudge")
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_scifact import METRICS, CarriedEmbedding\n"
        "from nudge_integrations.dataset import RetrievalDataset\n"
        "from nudge_integrations.llama_index import NudgeFinetuneEngine, evaluate_retriever, to_nodes\n"
        f"test = RetrievalDataset.from_beir({str(folder)!r}, 'test')\n"
        f"engine = NudgeFinetuneEngine.from_artifact({str(tmp_path / 'nudge')!r}, "
        f"CarriedEmbedding(Path({str(folder)!r})), to_nodes(test))\n"
        "print(json.dumps(evaluate_retriever(engine.as_retriever(similarity_top_k=10), test, METRICS).means))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert json.loads(done.stdout) == pytest.approx(dict(after.means), abs=1e-12)
