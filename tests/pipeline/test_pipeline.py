"""fit: the same as its parts, from text to a saved nudge, and what it refuses."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import Encoder, text_hash
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.evaluation import evaluate
from nudge_integrations.fusion import Bm25, LexicalIndex, LexicalSignal, Scorer
from nudge_integrations.index import ExactIndex
from nudge_integrations.pipeline import METHODS, QUERY_MAPS, fit
from nudge_integrations.selection import select
from nudge_integrations.solver import solve


def labelled(questions: int = 90, documents: int = 15, seed: int = 0, prefix: str = "q") -> RetrievalDataset:
    """Build a corpus whose documents are asked for in words that stand in other documents: there is much to learn."""
    random = np.random.default_rng(seed)
    corpus = {f"d{row}": f"word{row} about topic{row} and more{row}" for row in range(documents)}
    queries, qrels = {}, {}
    for number in range(questions):
        wanted = int(random.integers(documents))
        slang = (wanted + 1) % documents
        queries[f"{prefix}{number}"] = f"word{slang} slang{wanted} noise{prefix}{number}"
        qrels[f"{prefix}{number}"] = {f"d{wanted}": 1.0}
    return RetrievalDataset(corpus, queries, qrels)


class Counting:
    """An encoder that counts its calls."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder, self.calls, self.fingerprint = encoder, list[tuple[str, int]](), encoder.fingerprint

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.calls.append(("documents", len(texts)))
        return self.encoder.encode_documents(texts)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.calls.append(("queries", len(texts)))
        return self.encoder.encode_queries(texts)


def vectors_of(dataset: RetrievalDataset, encoder: Encoder) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return encoder.encode_documents([*dataset.corpus.values()]), encoder.encode_queries([*dataset.queries.values()])


def test_fit_is_encode_solve_and_keep(encoder: Encoder) -> None:
    dataset, counting = labelled(), Counting(encoder)
    documents, queries = vectors_of(dataset, encoder)
    nudge = fit(dataset, counting, method="nudge-n", metric="mrr@5")
    solution = solve(documents, queries, dataset.relevance(), method="nudge-n", metric="mrr@5")
    assert counting.calls == [("documents", 15), ("queries", 90)]
    assert nudge.ids == tuple(dataset.document_ids[row] for row in solution.rows)
    np.testing.assert_array_equal(nudge.vectors, solution.vectors)
    np.testing.assert_allclose(nudge.apply(dataset.document_ids, documents), solution.apply(documents), atol=1e-6)
    for name in ("method", "step", "metric", "baseline", "score", "unseen_score", "status", "reason", "queries"):
        assert getattr(nudge, name) == getattr(solution, name)
    assert nudge.curve is not None
    assert nudge.curve.tolist() == np.column_stack([solution.curve.steps, solution.curve.values]).tolist()
    assert nudge.text_hashes == tuple(text_hash(dataset.corpus[i]) for i in nudge.ids)
    assert (nudge.dataset_hash, nudge.encoder, nudge.validation_hash) == (dataset.hash, encoder.fingerprint, None)
    assert (nudge.status, nudge.protocol) == ("improved", "leave-one-out")
    assert nudge.versions["numpy"] == np.__version__


def test_fitting_twice_is_fitting_once(encoder: Encoder) -> None:
    assert fit(labelled(), encoder).fingerprint == fit(labelled(), encoder).fingerprint


def test_queries_that_were_not_fitted_to_score_better(encoder: Encoder, tmp_path: Path) -> None:
    train, test = labelled(), labelled(60, seed=1, prefix="t")
    fit(train, encoder).save(tmp_path)
    nudge = Nudge.load(tmp_path, encoder=encoder)
    documents, queries = vectors_of(test, encoder)

    def run(vectors: NDArray[np.float32]) -> dict[str, list[str]]:
        found, _ = ExactIndex(test.document_ids, vectors, similarity=nudge.similarity).search(queries, 10)
        return dict(zip(test.query_ids, found, strict=True))

    before = evaluate(run(documents), test).means["ndcg@10"]
    after = evaluate(run(nudge.apply(test.document_ids, documents)), test).means["ndcg@10"]
    assert after > before + 0.1


def test_vectors_that_are_there_are_not_made_again(encoder: Encoder, tmp_path: Path) -> None:
    dataset = labelled()
    documents, queries = vectors_of(dataset, encoder)
    np.save(tmp_path / "documents.npy", documents)
    mapped = np.load(tmp_path / "documents.npy", mmap_mode="r")
    counting, nudge_n = Counting(encoder), partial(fit, dataset, method="nudge-n")
    expected = nudge_n(encoder).fingerprint
    assert nudge_n(counting, document_vectors=mapped, query_vectors=queries).fingerprint == expected
    listed = nudge_n("fake-encoder", document_vectors=documents, query_vectors=queries.tolist())
    assert listed.fingerprint == expected
    assert counting.calls == []
    assert nudge_n(counting, document_vectors=documents).fingerprint == expected
    assert counting.calls == [("queries", 90)]


def test_a_validation_set_chooses_the_step(encoder: Encoder) -> None:
    dataset, held_out = labelled(), labelled(60, seed=1, prefix="v")
    nudge = fit(dataset, encoder, validation=held_out, method="nudge-m", refit=False)
    documents, queries = vectors_of(dataset, encoder)
    given = (vectors_of(held_out, encoder)[1], held_out.relevance())
    solution = solve(documents, queries, dataset.relevance(), validation=given, method="nudge-m", refit=False)
    assert (nudge.step, nudge.score, nudge.queries) == (solution.step, solution.score, 60)
    assert (nudge.similarity, nudge.protocol, nudge.validation_hash) == ("dot", "validation", held_out.hash)
    again = fit(
        dataset,
        "fake-encoder",
        validation=held_out,
        method="nudge-m",
        refit=False,
        document_vectors=documents,
        query_vectors=queries,
        validation_query_vectors=given[0],
    )
    assert again.fingerprint == nudge.fingerprint


def test_options_reach_the_solver(encoder: Encoder) -> None:
    dataset = labelled()
    assert fit(dataset, encoder, method="nudge-n", step=0.25).step == 0.25
    assert fit(dataset, encoder, method="contrastive", temperature=0.1).temperature == 0.1
    assert fit(dataset, encoder, method="nudge-n", max_queries=50).queries == 50
    with pytest.raises(InputError, match="unknown metric"):
        fit(dataset, encoder, metric="ndgc@10")
    with pytest.raises(InputError, match="unknown option 'stepp'"):
        fit(dataset, encoder, stepp=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("method", METHODS)
def test_what_a_nudge_answers_as_its_method_may_be_asked_for(encoder: Encoder, method: str) -> None:
    dataset = labelled(240)
    answered = fit(dataset, encoder, method=method)
    assert answered.status == "improved"
    assert answered.method in METHODS
    assert method in ("auto", "nudge", "query-map", "query-map+nudge", answered.method)
    assert fit(dataset, encoder, method=answered.method).method == answered.method


@pytest.mark.parametrize("method", ["nudge-n", "contrastive", "auto"])
def test_repeating_every_query_under_another_id_changes_no_estimate(encoder: Encoder, method: str) -> None:
    once = labelled()
    again = RetrievalDataset(
        once.corpus,
        {f"again {query}": f" {text} " for query, text in once.queries.items()},
        {f"again {query}": grades for query, grades in once.qrels.items()},
    )
    single, double = (fit(dataset, encoder, method=method) for dataset in (once, once.merge(again)))
    assert (double.method, double.queries) == (single.method, 2 * single.queries)
    assert (double.baseline, double.score) == pytest.approx((single.baseline, single.score), abs=1e-6)
    assert double.step == pytest.approx(single.step, abs=1e-4)


def test_a_shift_moves_the_others_as_the_solver_does(encoder: Encoder) -> None:
    dataset = labelled(20)
    documents, queries = vectors_of(dataset, encoder)
    nudge = fit(dataset, encoder, method="nudge-n", step=0.4, shift=True)
    solution = solve(documents, queries, dataset.relevance(), method="nudge-n", step=0.4, shift=True)
    assert nudge.shift is not None
    assert len(nudge) < len(documents)
    nudged = nudge.apply(dataset.document_ids, documents)
    np.testing.assert_allclose(nudged, solution.apply(documents), atol=1e-6)
    np.testing.assert_allclose(nudge.revert(dataset.document_ids, nudged), documents, atol=1e-5)


def test_no_gain_is_a_valid_result(encoder: Encoder) -> None:
    corpus = {f"d{row}": f"word{row}" for row in range(10)}
    queries = {f"q{row}": f"word{row}" for row in range(10)}
    nudge = fit(RetrievalDataset(corpus, queries, {f"q{row}": {f"d{row}": 1} for row in range(10)}), encoder)
    assert (nudge.status, nudge.method, len(nudge)) == ("no_gain", "none", 0)
    assert nudge.apply(["d0"], encoder.encode_documents(["word0"])).shape == (1, 32)


# -- documents with one text


def test_query_maps_come_with_the_nudge_and_take_no_validation_set(encoder: Encoder, tmp_path: Path) -> None:
    train, held_out = labelled(240), labelled(20, prefix="v", seed=1)
    nudge = fit(train, encoder, method="query-map")
    documents, queries = vectors_of(train, encoder)
    groups = train.query_groups()
    expected = select(documents, queries, train.relevance(), candidates=("query-map",), groups=groups)
    assert {candidate["method"] for candidate in nudge.candidates} == {one.method for one in expected.candidates}
    assert (nudge.status, nudge.method) == (expected.status, expected.method)
    nudge.save(tmp_path / "nudged")
    assert Nudge.load(tmp_path / "nudged").candidates == nudge.candidates
    for method in QUERY_MAPS:
        with pytest.raises(InputError, match="takes no validation="):
            fit(train, encoder, method=method, validation=held_out)


def test_without_query_maps_auto_is_the_solver_s(encoder: Encoder) -> None:
    dataset = labelled(240)
    documents, queries = vectors_of(dataset, encoder)
    expected = solve(documents, queries, dataset.relevance())
    nudge = fit(dataset, encoder, method="nudge")
    assert (nudge.method, nudge.step, nudge.score) == (expected.method, expected.step, expected.score)
    assert nudge.query_map is None


def with_twin(dataset: RetrievalDataset) -> RetrievalDataset:
    """Add a document with the text of d3, for which some queries ask by its own id."""
    wanting = [query for query, judged in dataset.qrels.items() if "d3" in judged]
    qrels = {query: dict(judged) for query, judged in dataset.qrels.items()}
    for query in wanting[::2]:
        qrels[query] = {"twin": 1.0}
    return RetrievalDataset({**dataset.corpus, "twin": dataset.corpus["d3"]}, dataset.queries, qrels)


def test_twins_that_are_kept_apart_are_reported(encoder: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    dataset = with_twin(labelled())
    with caplog.at_level(logging.INFO):
        nudge = fit(dataset, encoder, method="nudge-n", step=0.5, duplicates="keep")
    assert dict(nudge.ambiguous_texts) == {text_hash(dataset.corpus["d3"]): ("d3", "twin")}
    assert not np.array_equal(nudge.vector("d3"), nudge.vector("twin"))
    assert "1 texts are shared by documents that part" in caplog.text


def test_an_unlabelled_twin_that_is_kept_apart_stays(encoder: Encoder) -> None:
    dataset = labelled()
    dataset = RetrievalDataset({**dataset.corpus, "twin": dataset.corpus["d3"]}, dataset.queries, dataset.qrels)
    nudge = fit(dataset, encoder, method="nudge-n", step=0.5, duplicates="keep")
    assert "twin" not in nudge
    assert list(nudge.ambiguous_texts.values()) == [("d3", "twin")]


def test_twins_move_as_one(encoder: Encoder) -> None:
    plain, dataset = labelled(), with_twin(labelled())
    nudge = fit(dataset, encoder, method="nudge-n", step=0.5)
    np.testing.assert_array_equal(nudge.vector("d3"), nudge.vector("twin"))
    assert nudge.ambiguous_texts == {}
    # all labels of the text count, as if it had one id
    np.testing.assert_allclose(
        nudge.vector("d3"), fit(plain, encoder, method="nudge-n", step=0.5).vector("d3"), atol=1e-6
    )
    assert nudge.dataset_hash == dataset.hash


def test_merged_twins_have_one_vector_though_their_encodings_differ_a_little(encoder: Encoder) -> None:
    dataset = with_twin(labelled())
    documents, queries = vectors_of(dataset, encoder)
    documents[-1] += 1e-6
    given: dict[str, Any] = {"document_vectors": documents, "query_vectors": queries}
    nudge = fit(dataset, "fake", method="nudge-n", step=0.5, duplicates="merge", **given)
    np.testing.assert_array_equal(nudge.vector("d3"), nudge.vector("twin"))
    assert nudge.ambiguous_texts == {}


def test_twins_are_named_when_they_are_to_be_refused(encoder: Encoder) -> None:
    with pytest.raises(DatasetError, match=r"'d3', 'twin'.*duplicates='merge'"):
        fit(with_twin(labelled()), encoder, duplicates="error")
    plain = labelled()
    unasked = RetrievalDataset({**plain.corpus, "x": "same", "y": "same"}, plain.queries, plain.qrels)
    assert len(fit(unasked, encoder, method="nudge-n", duplicates="error")) > 0
    with pytest.raises(InputError, match="duplicates must be"):
        fit(plain, encoder, duplicates="drop")  # type: ignore[arg-type]


# -- what is refused


def test_a_dataset_with_problems_is_refused(encoder: Encoder) -> None:
    with pytest.raises(DatasetError, match=r"queries with no relevant document.*\n.*repaired"):
        fit(RetrievalDataset({"d": "text"}, {"q": "?", "r": "??"}, {"q": {"d": 1}}), encoder)


def test_documents_without_text_are_fine_when_their_vectors_are_given(encoder: Encoder) -> None:
    dataset = labelled()
    images = RetrievalDataset(dict.fromkeys(dataset.corpus, ""), dataset.queries, dataset.qrels)
    with pytest.raises(DatasetError, match="empty text"):
        fit(images, encoder)
    nudge = fit(images, encoder, document_vectors=vectors_of(dataset, encoder)[0], method="nudge-n")
    assert nudge.ids == fit(dataset, encoder, method="nudge-n").ids


@pytest.mark.parametrize(
    ("validation", "words"),
    [
        (RetrievalDataset({"other": "x"}, {"v": "?"}, {"v": {"other": 1}}), "'other' .* not in the corpus"),
        (RetrievalDataset({"d1": "new text"}, {"v": "?"}, {"v": {"d1": 1}}), "'d1' .* has another text"),
        (labelled(3), "'q0' .*is a training query too"),
    ],
)
def test_a_validation_set_that_does_not_fit_is_refused(
    encoder: Encoder, validation: RetrievalDataset, words: str
) -> None:
    with pytest.raises(DatasetError, match=f"validation: .*{words}"):
        fit(labelled(), encoder, validation=validation)


def test_a_validation_set_may_hold_a_part_of_the_corpus(encoder: Encoder) -> None:
    held_out = labelled(60, seed=1, prefix="v")
    part = RetrievalDataset({"d1": held_out.corpus["d1"]}, {"v": "word2 slang1"}, {"v": {"d1": 1}})
    assert fit(labelled(), encoder, validation=part).queries == 1


def test_vectors_that_do_not_fit_are_refused(encoder: Encoder) -> None:
    dataset = labelled()
    documents, queries = vectors_of(dataset, encoder)
    with pytest.raises(InputError, match="document_vectors has 14 vectors, the dataset 15 documents"):
        fit(dataset, encoder, document_vectors=documents[1:])
    with pytest.raises(InputError, match="query_vectors has 89 vectors, the dataset 90 queries"):
        fit(dataset, encoder, query_vectors=queries[1:])
    with pytest.raises(InputError, match="fingerprint 'name' alone, which cannot encode"):
        fit(dataset, "name", document_vectors=documents)

    class Broken(Counting):
        def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return np.where(np.arange(len(texts))[:, None] == 2, np.nan, documents)

    with pytest.raises(InputError, match="the vector of 'd2' is not finite"):
        fit(dataset, Broken(encoder))


# -- real data


def test_scifact_improves(collection: Callable[[str], Path]) -> None:
    folder = collection("scifact")
    train, test = (RetrievalDataset.from_beir(folder, split) for split in ("train", "test"))
    documents = np.load(folder / "minilm" / "corpus.f16.npy", mmap_mode="r")
    queries = np.load(folder / "minilm" / "queries.f16.npy")
    lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {json.loads(line)["_id"]: row for row, line in enumerate(lines)}
    fitted, asked = (queries[[rows[query] for query in part.query_ids]] for part in (train, test))
    nudge = fit(train, "all-MiniLM-L6-v2", method="nudge-n", document_vectors=documents, query_vectors=fitted)

    def ndcg(vectors: NDArray[Any]) -> float:
        found, _ = ExactIndex(test.document_ids, vectors).search(asked, 10)
        return evaluate(dict(zip(test.query_ids, found, strict=True)), test, ["ndcg@10"]).means["ndcg@10"]

    before, after = ndcg(documents), ndcg(nudge.apply(test.document_ids, documents))
    assert before == pytest.approx(0.645, abs=0.002)
    assert after > before + 0.03


def coded(queries: int = 240, documents: int = 40) -> tuple[RetrievalDataset, dict[str, Any]]:
    """Documents whose codes only words know, with vectors under which queries are near other documents as well."""
    random = np.random.default_rng(0)
    wanted = random.integers(documents, size=queries)
    corpus = {f"d{row}": f"part xk{row:03d} of a series" for row in range(documents)}
    asked = {f"q{row}": f"is xk{of:03d} there {row}" for row, of in enumerate(wanted)}
    dataset = RetrievalDataset(corpus, asked, {f"q{row}": {f"d{of}": 1.0} for row, of in enumerate(wanted)})
    vectors = random.normal(size=(documents, 16))
    noisy = vectors[wanted] + 1.2 * random.normal(size=(queries, 16))
    return dataset, {"document_vectors": vectors, "query_vectors": noisy}


@pytest.mark.parametrize("method", ["auto", "nudge", "nudge-n", "ridge"])
def test_words_are_weighed_beside_vectors_and_the_weight_is_kept(method: str, tmp_path: Path) -> None:
    dataset, vectors = coded()
    alone = fit(dataset, "toy", method=method, **vectors)
    nudge = fit(dataset, "toy", method=method, signals=("bm25",), **vectors)
    assert alone.fusion is None
    assert nudge.fusion is not None
    assert nudge.score > alone.score + 0.05
    assert nudge.fusion.gain > 2.0 * nudge.fusion.standard_error
    assert nudge.fusion.lexical == Bm25().as_dict()
    nudge.save(tmp_path)
    assert Nudge.load(tmp_path).fusion == nudge.fusion


def test_held_out_queries_weigh_words_too() -> None:
    dataset, vectors = coded()
    train, validation = dataset.split((0.5, 0.5))
    rows = {query: row for row, query in enumerate(dataset.query_ids)}
    of = {
        name: vectors["query_vectors"][[rows[q] for q in part.query_ids]]
        for name, part in (("query_vectors", train), ("validation_query_vectors", validation))
    }
    documents = vectors["document_vectors"]
    nudge = fit(train, "toy", validation=validation, signals="bm25", document_vectors=documents, **of)
    assert nudge.fusion is not None
    assert nudge.protocol == "validation"


def test_any_signal_of_texts_and_rows_is_weighed() -> None:
    dataset, vectors = coded()
    index = LexicalIndex(Bm25(language=""))
    index.insert(dataset.document_ids, list(dataset.corpus.values()))
    same = LexicalSignal(index)
    mine = Scorer("words", lambda queries, rows: same.of(queries).at(rows), lambda queries, k: same.of(queries).best(k))
    nudge = fit(dataset, "toy", method="nudge-n", signals=[mine], **vectors)
    assert nudge.fusion is not None
    assert set(nudge.fusion.weights) == {"words"}
    assert nudge.fusion.lexical is None


def test_an_unknown_signal_is_refused() -> None:
    dataset, vectors = coded()
    with pytest.raises(InputError, match="unknown signal 'tf-idf'"):
        fit(dataset, "toy", signals=["tf-idf"], **vectors)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"encoder": None}, "no encoder"),
        ({"encoder": object()}, "no encoder"),
        ({"dataset": {"q": "d"}}, "RetrievalDataset"),
        ({"dataset": None}, "RetrievalDataset"),
        ({"validation": "dev.json"}, "RetrievalDataset"),
        ({"signals": 5}, "no signal"),
        ({"signals": [None]}, "no signal"),
        ({"warm": "nudge"}, "warm"),
        ({"labels": "labels.jsonl"}, "labels"),
        ({"metric": "ndcg@99999999999999999999"}, "cutoff k from 1"),
    ],
)
def test_what_is_no_such_thing_is_refused(wrong: dict[str, Any], message: str, encoder: Encoder) -> None:
    given: dict[str, Any] = {"dataset": labelled(), "encoder": encoder, **wrong}
    with pytest.raises(InputError, match=message):
        fit(given.pop("dataset"), given.pop("encoder"), method="nudge-n", step=0.1, **given)


def test_a_cutoff_beyond_the_corpus_costs_no_more_than_the_corpus(encoder: Encoder) -> None:
    deep, enough = (fit(labelled(), encoder, method="nudge-n", metric=f"recall@{k}") for k in (1_000_000, 1_000))
    assert (deep.score, deep.step) == (enough.score, enough.step)


@pytest.mark.parametrize("weights", [5, {None: 1.0}, {"q0": "x"}, {"q0": {"d0": "x"}}, {"q0": {"nowhere": 1.0}}])
def test_weights_that_are_none_are_refused(weights: Any, encoder: Encoder) -> None:
    with pytest.raises(InputError, match="weights"):
        fit(labelled(), encoder, method="nudge-n", step=0.1, weights=weights)
