"""The 25 defects of the framework's former Nudge engine, none of which may be found here: one test or more for each.

The number in a test's name is the defect's; its words say what is right instead.
"""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
import tomllib
import tracemalloc
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index_doubles import WordEmbedding, found, halves, labelled, nudge_of, words_vector

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.llama_index import NudgeFinetuneEngine, to_nodes
from nudge_integrations.llama_index.former_engine import register
from nudge_integrations.llama_index.nodes import labels_over_nodes

ROOT = Path(__file__).resolve().parents[2]
SEEN, ASKED = halves(labelled())


def fitted(train: Any = SEEN, val: Any = None, *, method: str = "nudge-n", **options: Any) -> NudgeFinetuneEngine:
    engine = NudgeFinetuneEngine(train, WordEmbedding(), val, method=method, **options)
    engine.finetune()
    return engine


def same_place(one: NudgeFinetuneEngine, other: NudgeFinetuneEngine) -> None:
    np.testing.assert_array_equal(one.get_finetuned_corpus_embeddings(), other.get_finetuned_corpus_embeddings())


def part(dataset: RetrievalDataset, *documents: str) -> RetrievalDataset:
    """The queries about some documents, over a corpus of these alone."""
    qrels = {q: judged for q, judged in dataset.qrels.items() if set(judged) <= set(documents)}
    corpus = {document: dataset.corpus[document] for document in documents}
    return RetrievalDataset(corpus, {query: dataset.queries[query] for query in qrels}, qrels)


def test_01_it_imports_without_the_packages_that_broke_the_former_one() -> None:
    blocked = ["polars", "mistralai", "nudge", "duckdb", "llama_index.finetuning", "llama_index.experimental"]
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked})); import nudge_integrations.llama_index"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True)


def test_02_documents_are_embedded_in_batches_and_asynchronously_where_asked() -> None:
    model = WordEmbedding(embed_batch_size=16)
    NudgeFinetuneEngine(SEEN, model, method="nudge-n").finetune()
    assert [len(texts) for path, texts in model.calls if path == "batch"] == [16, 16, 8]
    assert sorted(model.texts("batch")) == sorted(SEEN.corpus.values())
    assert not model.texts("text")
    asynchronous = WordEmbedding(embed_batch_size=16, num_workers=2)
    asyncio.run(NudgeFinetuneEngine(SEEN, asynchronous, method="nudge-n").afinetune())
    assert [len(texts) for path, texts in asynchronous.calls if path == "abatch"] == [16, 16, 8]


def test_03_no_validation_set_is_needed_and_the_step_may_be_given() -> None:
    assert nudge_of(fitted(val=None)).protocol == "leave-one-out"
    given = nudge_of(fitted(step=0.3))
    assert (given.step, given.status) == (0.3, "fixed")


def test_04_validation_queries_may_have_a_corpus_of_their_own() -> None:
    other = labelled(documents=12, answered=4, prefix="v", seed=1)
    engine = fitted(SEEN, other)
    assert nudge_of(engine).protocol == "validation"
    assert {node.node_id for node in engine.nodes} == {*SEEN.corpus, *other.corpus}


def test_05_a_query_without_answers_is_named_and_may_be_left_out() -> None:
    queries = {**SEEN.queries, "lonely": "who knows"}
    qrels = {query: list(judged) for query, judged in SEEN.qrels.items()}
    pairs = SimpleNamespace(queries=queries, corpus=dict(SEEN.corpus), relevant_docs=qrels)
    with pytest.raises(DatasetError, match="lonely"):
        fitted(pairs)
    repaired, report = RetrievalDataset.from_object(pairs).repaired()
    assert report.queries_without_relevant == ("lonely",)
    same_place(fitted(repaired), fitted())


class Counted(str):
    """An id that counts how often it is compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)


def test_06_reading_labels_costs_what_they_are_long_not_queries_times_documents() -> None:
    size = 4000
    corpus = {f"d{i}": f"text {i}" for i in range(size)}
    qrels: dict[str, dict[str, float]] = {f"q{i}": {Counted(f"d{i}"): 1.0} for i in range(size)}
    labels = RetrievalDataset(corpus, {query: query for query in qrels}, qrels)
    Counted.compared = 0
    matrix = labels_over_nodes(to_nodes(labels), labels).relevance()
    assert matrix.nnz == size
    assert Counted.compared <= 50 * size  # looking in a list would take size * size / 2 = 8 million


def test_07_a_batch_without_validation_queries_can_be_inserted() -> None:
    engine = fitted()
    engine.insert_data_and_finetune(labelled(documents=5, answered=2, prefix="n", seed=2))
    assert len(engine.nodes) == len(SEEN.corpus) + 5
    assert {"nd0", "nd1"} <= set(nudge_of(engine).ids)


def test_08_an_id_that_is_there_with_another_text_is_named() -> None:
    engine = fitted()
    with pytest.raises(DatasetError, match="'d3'"):
        engine.insert_data_and_finetune(RetrievalDataset({"d3": "another text"}, {"n": "?"}, {"n": {"d3": 1}}))
    with pytest.raises(InputError, match="node id 'twice' comes twice"):
        NudgeFinetuneEngine(SEEN, WordEmbedding(), nodes=[TextNode(id_="twice", text=text) for text in "ab"])


def test_09_a_batch_inserted_twice_is_there_once_and_rows_keep_their_ids() -> None:
    batch = labelled(documents=5, answered=2, prefix="n", seed=2)
    engine = fitted()
    engine.insert_data_and_finetune(batch)
    once = engine.get_finetuned_corpus_embeddings()
    engine.insert_data_and_finetune(batch)
    np.testing.assert_array_equal(engine.get_finetuned_corpus_embeddings(), once)
    engine.finetune()
    np.testing.assert_array_equal(engine.get_finetuned_corpus_embeddings(), once)
    row = [node.node_id for node in engine.nodes].index("nd1")
    np.testing.assert_array_equal(once[row], nudge_of(engine).vector("nd1"))


def test_10_new_queries_may_ask_for_old_documents() -> None:
    engine = fitted(part(SEEN, *SEEN.corpus))
    old = RetrievalDataset(SEEN.corpus, {"new": "petname20 petname20"}, {"new": {"d20": 1}})
    engine.insert_data_and_finetune(old)
    assert "d20" in nudge_of(engine)
    assert len(engine.nodes) == len(SEEN.corpus)


def test_11_many_batches_end_where_one_fit_of_all_ends() -> None:
    documents = [f"d{i}" for i in range(8)]
    engine = fitted(part(SEEN, documents[0]), step=0.4)
    for document in documents[1:]:
        engine.insert_data_and_finetune(part(SEEN, document))
    at_once = fitted(part(SEEN, *documents), step=0.4)
    same_place(engine, at_once)
    base = np.array([words_vector(SEEN.corpus[document]) for document in documents])
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    cosines = np.einsum("ij,ij->i", base, engine.get_finetuned_corpus_embeddings())
    assert cosines.min() >= np.cos(0.4) - 1e-5


def test_12_a_magnitude_method_fitted_again_keeps_its_magnitudes() -> None:
    engine = fitted(method="nudge-m", step=0.8)
    first = engine.get_finetuned_corpus_embeddings()
    assert np.linalg.norm(first, axis=1).max() > 1.2
    engine.finetune()
    np.testing.assert_array_equal(engine.get_finetuned_corpus_embeddings(), first)


def test_13_a_validation_query_without_answers_is_named_instead_of_stopping_everything() -> None:
    queries = {**ASKED.queries, "lonely": "who knows"}
    broken = RetrievalDataset(ASKED.corpus, queries, {**ASKED.qrels, "lonely": {}})
    with pytest.raises(DatasetError, match="lonely"):
        fitted(SEEN, broken)
    repaired, _ = broken.repaired()
    engine = fitted(SEEN, repaired)
    assert nudge_of(engine).status == "improved"
    assert np.isfinite(nudge_of(engine).score)
    same_place(engine, fitted(SEEN, ASKED))


def test_14_there_is_a_retriever_an_index_a_file_and_a_vector_for_every_id(tmp_path: Path) -> None:
    engine = fitted()
    assert isinstance(engine.as_retriever(), BaseRetriever)
    assert isinstance(engine.as_index(), VectorStoreIndex)
    engine.save(tmp_path)
    loaded = Nudge.load(tmp_path)
    rows = {node.node_id: row for node, row in zip(engine.nodes, engine.get_finetuned_corpus_embeddings(), strict=True)}
    assert all(np.array_equal(loaded.vector(i), rows[i]) for i in loaded.ids)


def test_15_it_is_an_engine_to_the_framework_and_gives_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from abc import ABC, abstractmethod

    class BaseEmbeddingFinetuneEngine(ABC):
        @abstractmethod
        def finetune(self) -> None: ...

        @abstractmethod
        def get_finetuned_model(self, **model_kwargs: Any) -> BaseEmbedding: ...

    stub = ModuleType("llama_index.finetuning.types")
    stub.BaseEmbeddingFinetuneEngine = BaseEmbeddingFinetuneEngine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "llama_index.finetuning", ModuleType("llama_index.finetuning"))
    monkeypatch.setitem(sys.modules, "llama_index.finetuning.types", stub)
    register(NudgeFinetuneEngine)
    engine = fitted()
    assert isinstance(engine, BaseEmbeddingFinetuneEngine)
    assert isinstance(engine.get_finetuned_model(), BaseEmbedding)


def test_16_grades_count_and_an_id_that_is_listed_twice_does_not() -> None:
    graded = {query: dict.fromkeys(judged, 2.0) for query, judged in SEEN.qrels.items()}
    second = next(iter(graded))
    graded[second] = {"d0": 2.0, "d30": 1.0}
    flat = {**graded, second: {"d0": 1.0, "d30": 1.0}}
    one, other = (RetrievalDataset(SEEN.corpus, SEEN.queries, qrels) for qrels in (graded, flat))
    fits = [fitted(dataset, graded=True, step=0.3) for dataset in (one, other)]
    assert not np.array_equal(nudge_of(fits[0]).vector("d0"), nudge_of(fits[1]).vector("d0"))
    lists = {query: [*judged, *judged] for query, judged in SEEN.qrels.items()}
    twice = SimpleNamespace(queries=dict(SEEN.queries), corpus=dict(SEEN.corpus), relevant_docs=lists)
    same_place(fitted(twice), fitted())


class DoubleEmbedding(WordEmbedding):
    """Gives numpy numbers of double precision for texts, and lists of floats for queries."""

    def _get_text_embeddings(self, texts: list[str]) -> list[Any]:
        return list(np.asarray(super()._get_text_embeddings(texts), dtype=np.float64))


def test_17_mixed_precisions_go_in_and_single_precision_comes_out() -> None:
    nodes = to_nodes(SEEN)
    nodes[0].embedding = [round(value) for value in words_vector(nodes[0].text)]
    engine = NudgeFinetuneEngine(SEEN, DoubleEmbedding(), nodes=nodes, method="nudge-n")
    engine.finetune()
    assert engine.get_finetuned_corpus_embeddings().dtype == np.float32
    assert nudge_of(engine).vectors.dtype == np.float32


@pytest.mark.parametrize("device", ["cuda:97", "no such device", 3.5])
def test_18_a_device_that_is_not_there_is_refused_before_anything_is_embedded(device: Any) -> None:
    model = WordEmbedding()
    with pytest.raises(InputError, match="cannot be used here"):
        NudgeFinetuneEngine(SEEN, model, device=device)
    assert not model.calls
    assert NudgeFinetuneEngine(SEEN, model, device=torch.device("cpu")).method == "auto"


def test_19_nothing_is_printed_and_a_fit_that_gains_nothing_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    unlearnable = RetrievalDataset(
        SEEN.corpus,
        {f"q{i}": text for i, text in enumerate(SEEN.corpus.values())},
        {f"q{i}": {f"d{i}": 1} for i in range(40)},
    )
    engine = fitted(unlearnable)
    assert (nudge_of(engine).status, len(nudge_of(engine))) == ("no_gain", 0)
    assert nudge_of(engine).reason
    assert nudge_of(engine).baseline == nudge_of(engine).score == 1.0
    assert "no_gain" in repr(engine)
    assert capfd.readouterr().out == ""
    gained = nudge_of(fitted())
    assert gained.score > gained.baseline
    assert gained.step > 0


def test_20_any_metric_at_any_cutoff_and_clear_words_for_what_is_empty() -> None:
    assert nudge_of(fitted(metric="recall@5")).metric == "recall@5"
    assert nudge_of(fitted(metric="ndcg@1000")).status == "improved"  # a cutoff beyond the corpus
    with pytest.raises(InputError, match="step"):
        fitted(step=[0.1, 0.2])
    nobody = RetrievalDataset(SEEN.corpus, {}, {})
    with pytest.raises(InputError, match="no labelled queries"):
        fitted(nobody)
    assert nudge_of(fitted(SEEN, nobody)).protocol == "leave-one-out"


class NarrowEmbedding(WordEmbedding):
    """Queries of eight numbers."""

    def _get_query_embedding(self, query: str) -> list[float]:
        return super()._get_query_embedding(query)[:8]


def test_21_memory_does_not_grow_with_queries_times_documents() -> None:
    documents, queries = 20_000, 1_000
    corpus = {f"d{i}": f"title{i}" for i in range(documents)}
    train = {f"q{i}": f"ask{i}" for i in range(50)}
    asked = {f"v{i}": f"demand{i}" for i in range(queries)}
    labels = RetrievalDataset(corpus, train, {f"q{i}": {f"d{i}": 1} for i in range(50)})
    validation = RetrievalDataset(corpus, asked, {f"v{i}": {f"d{i % 50}": 1} for i in range(queries)})
    random = np.random.default_rng(0)
    nodes = to_nodes(labels)
    for node, row in zip(nodes, random.standard_normal((documents, 8)).tolist(), strict=True):
        node.embedding = row
    engine = NudgeFinetuneEngine(labels, NarrowEmbedding(), validation, nodes=nodes, method="nudge-n", step=0.1)
    tracemalloc.start()
    engine.finetune()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < queries * documents * 4 / 2  # half of one dense float32 matrix of labels


class LoudEmbedding(WordEmbedding):
    """Some queries come out a thousand times longer than others."""

    def _get_query_embedding(self, query: str) -> list[float]:
        vector = super()._get_query_embedding(query)
        return [1000.0 * value for value in vector] if query.endswith("0") else vector


def test_22_a_long_query_vector_weighs_no_more_than_a_short_one() -> None:
    assert any(text.endswith("0") for text in SEEN.queries.values())
    engine = NudgeFinetuneEngine(SEEN, LoudEmbedding(), method="nudge-n", step=0.4)
    engine.finetune()
    np.testing.assert_allclose(nudge_of(engine).vectors, nudge_of(fitted(step=0.4)).vectors, atol=1e-5)


def test_23_the_frameworks_cosine_store_ranks_magnitudes_by_inner_product() -> None:
    engine = fitted(method="nudge-m")
    assert nudge_of(engine).similarity == "dot"
    served = engine.as_index(SimpleVectorStore()).as_retriever(similarity_top_k=10)
    vectors = engine.get_finetuned_corpus_embeddings()
    for text in list(ASKED.queries.values())[:10]:
        exact = np.argsort(-(vectors @ np.asarray(words_vector(text))), kind="stable")[:10]
        assert found(served, text) == [SEEN.document_ids[row] for row in exact]


def test_24_the_text_that_the_index_embeds_is_the_text_that_is_fitted() -> None:
    nodes = [
        TextNode(id_=i, text=text, metadata={"file": f"{i}.txt"}, excluded_embed_metadata_keys=["secret"])
        for i, text in SEEN.corpus.items()
    ]
    model, index_model = WordEmbedding(), WordEmbedding()
    NudgeFinetuneEngine(SEEN, model, nodes=nodes, method="nudge-n").finetune()
    VectorStoreIndex(nodes, embed_model=index_model)
    assert model.texts("batch") == index_model.texts("batch")
    assert model.texts("batch")[0].startswith("file: d0.txt")


def test_25_every_package_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = " ".join([*project["dependencies"], *project["optional-dependencies"]["llama-index"]])
    imported: set[str] = set()
    for module in (ROOT / "nudge_integrations" / "llama_index").glob("*.py"):
        for statement in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(statement, ast.Import):
                imported.update(alias.name for alias in statement.names)
            elif isinstance(statement, ast.ImportFrom) and statement.module:
                imported.add(statement.module)
    packages = {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names) - {"nudge_integrations"}
    names = {"llama_index": "llama-index-core", "llama_index_instrumentation": "llama-index-core"}
    assert all(f"{names.get(package, package)}>=" in declared for package in packages), packages


def test_25_the_former_engines_arguments_still_work() -> None:
    former = NudgeFinetuneEngine(train_dataset=SEEN, val_dataset=ASKED, embed_model=WordEmbedding(), use_nudge_n=True)
    former.finetune()
    assert nudge_of(former).method == "nudge-n"
    assert former.get_finetuned_corpus_embeddings()[0].tolist()
    with pytest.raises(InputError, match="both given"):
        NudgeFinetuneEngine(SEEN, WordEmbedding(), method="nudge-m", use_nudge_n=True)
