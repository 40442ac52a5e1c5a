"""health, suspects and migrate: what is said about a nudge, its labels, and another model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nudge_integrations import LabelLog, Nudge, RetrievalDataset, fit, health, migrate, refit, suspects
from nudge_integrations.errors import InputError, MismatchError
from nudge_integrations.pipeline import bridge, fit_space_map, labels_over_documents

DIMENSION, DOCUMENTS = 16, 120
CORPUS = {f"d{number}": f"document {number}" for number in range(DOCUMENTS)}


class Model:
    """Documents are random vectors; questions lie between their answer and a hidden place that labels tell of."""

    def __init__(self, name: str = "model", rotation: NDArray[np.float64] | None = None, noise: float = 0.0) -> None:
        random = np.random.default_rng(0)
        self.fingerprint, self.rotation, self.noise = name, rotation, noise
        self.base, self.hidden = random.standard_normal((2, DOCUMENTS, DIMENSION))

    def encode_documents(self, texts: Any) -> NDArray[np.float32]:
        return self._seen(np.stack([self.base[int(text.split()[1])] for text in texts]), texts)

    def encode_queries(self, texts: Any) -> NDArray[np.float32]:
        return self._seen(np.stack([self._query(*map(int, text.split()[1:])) for text in texts]), texts)

    def _query(self, number: int, which: int) -> NDArray[np.float64]:
        noise = np.random.default_rng(which).standard_normal(DIMENSION)
        return np.asarray(self.base[number] + 1.2 * self.hidden[number] + 0.4 * noise)

    def _seen(self, rows: NDArray[np.float64], texts: Any) -> NDArray[np.float32]:
        if self.rotation is not None:
            rows = rows @ self.rotation
        seeds = [sum(text.encode()) for text in texts]
        blur = np.stack([np.random.default_rng(seed).standard_normal(rows.shape[1]) for seed in seeds])
        return np.asarray(rows + self.noise * blur, np.float32)


def labels(start: int, stop: int, about: int = 40) -> RetrievalDataset:
    queries = {f"q{number}": f"question {number % about} {number}" for number in range(start, stop)}
    qrels = {f"q{number}": {f"d{number % about}": 1.0} for number in range(start, stop)}
    return RetrievalDataset(CORPUS, queries, qrels)


def about(*, first: bool, count: int = 160) -> RetrievalDataset:
    """Questions about the first 20 documents, or about the next 20."""
    data = labels(0, count)
    kept = [query for query in data.queries if (int(query[1:]) % 40 < 20) == first]
    queries = {query: data.queries[query] for query in kept}
    return RetrievalDataset(CORPUS, queries, {query: data.qrels[query] for query in kept})


@pytest.fixture(scope="module")
def nudge() -> Nudge:
    return fit(labels(0, 120), Model(), method="nudge")


# -- health


def test_health_says_yes_where_new_labels_show_a_gain(nudge: Nudge) -> None:
    few = fit(about(first=True), Model(), method="nudge")
    report = health(few, about(first=False), encoder=Model())
    assert report.new_labels == 80
    assert report.gain is not None
    assert report.gain.interval[0] < report.gain.gain < report.gain.interval[1]
    assert report.guard[0]
    assert report.refit
    assert "refit: yes" in str(report)
    assert len(few.labels) == 80


def test_health_says_not_yet_where_nothing_came(nudge: Nudge) -> None:
    report = nudge.health(documents=CORPUS, encoder=Model())
    assert (report.new_labels, report.refit, report.drift, report.gain) == (0, False, None, None)
    assert report.step[0] == report.step[1]


def test_health_sees_queries_that_drift(nudge: Nudge) -> None:
    usual, elsewhere = (
        labels(120, 160),
        RetrievalDataset(
            CORPUS,
            {f"e{n}": f"question {80 + n} {n}" for n in range(40)},
            {f"e{n}": {f"d{80 + n}": 1.0} for n in range(40)},
        ),
    )
    near, far = (health(nudge, part, encoder=Model()).drift for part in (usual, elsewhere))
    assert near is not None
    assert far is not None
    assert far.nearest < near.nearest
    assert far.far > 0.5 > near.far


def test_health_says_where_the_guard_would_say_no(nudge: Nudge) -> None:
    report = health(nudge, labels(120, 130), encoder=Model(), standard_errors=1000.0)
    assert not report.guard[0]
    assert report.refit
    assert "guard: no" in str(report)


# -- suspects


def planted(seed: int = 0) -> tuple[RetrievalDataset, set[str]]:
    random, data = np.random.default_rng(seed), labels(0, 200)
    wrong = {f"q{number}" for number in random.choice(200, 10, replace=False)}
    qrels = {q: ({f"d{random.integers(0, DOCUMENTS)}": 1.0} if q in wrong else dict(g)) for q, g in data.qrels.items()}
    return RetrievalDataset(CORPUS, data.queries, qrels), wrong


def test_planted_wrong_labels_are_among_the_first_suspects() -> None:
    data, wrong = planted()
    nudge, base = fit(data, Model(), method="nudge"), Model().encode_documents(list(CORPUS.values()))
    found = suspects(nudge, base, documents=CORPUS, most=10)
    assert len(wrong & {one.query_id for one in found}) >= 5
    assert found == sorted(found, key=lambda one: -one.help)
    assert found[0].text == CORPUS[found[0].document]
    assert repr(found[0].query) in str(found[0])


def test_without_vectors_the_moved_documents_tell() -> None:
    data, wrong = planted()
    nudge = fit(data, Model(), method="nudge")
    assert len(wrong & {one.query_id for one in nudge.suspects(most=10)}) >= 4


def test_the_cost_of_a_label_is_what_its_removal_changes_for_the_others() -> None:
    """The closed form is the derivative; small turns make it the difference itself."""
    data, base = labels(0, 60, about=20), Model().encode_documents(list(CORPUS.values()))
    nudge = fit(data, Model(), method="nudge-n", step=0.01)
    queries = Model().encode_queries(list(data.queries.values()))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (base, queries)]

    def loss(sums: NDArray[np.float64], leave: int) -> float:
        served = unit[0].astype(np.float64)
        for row in np.flatnonzero(sums.any(axis=1)):
            along = sums[row] @ served[row]
            across = sums[row] - along * served[row]
            served[row] = np.cos(0.01) * served[row] + np.sin(0.01) * across / np.linalg.norm(across)
        scores = unit[1] @ served.T / 0.05
        own = scores[np.arange(60), np.arange(60) % 20]
        each = np.log(np.exp(scores - scores.max(1, keepdims=True)).sum(1)) + scores.max(1) - own
        return float(np.delete(each, leave).sum())

    sums = np.zeros((DOCUMENTS, DIMENSION))
    np.add.at(sums, np.arange(60) % 20, unit[1])
    by_query = {one.query_id: one.cost for one in suspects(nudge, base, documents=CORPUS, most=60)}
    for query in (0, 7, 33):
        without = sums.copy()
        without[query % 20] -= unit[1][query]
        expected = loss(sums, query) - loss(without, query)
        assert by_query[f"q{query}"] == pytest.approx(expected, rel=0.05, abs=1e-3)


def test_suspects_need_labels_and_documents(nudge: Nudge) -> None:
    bare = fit(labels(0, 3), Model(), method="nudge-n", step=0.0)
    with pytest.raises(InputError, match="moved no document"):
        suspects(bare)
    with pytest.raises(InputError, match="documents="):
        suspects(nudge, np.eye(3, DIMENSION))


def test_wrong_labels_of_a_real_collection_are_found(collection: Callable[[str], Path]) -> None:
    root = collection("stackfaq")
    data = RetrievalDataset.from_beir(root, "train")
    ids = [json.loads(line)["_id"] for line in (root / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    every = np.load(root / "minilm" / "queries.f16.npy").astype(np.float32)
    row_of, random = {query: row for row, query in enumerate(ids)}, np.random.default_rng(0)
    pairs = [(query, document) for query, grades in data.qrels.items() for document in grades]
    wrong = {pairs[row] for row in random.choice(len(pairs), len(pairs) // 20, replace=False)}
    qrels: dict[str, dict[str, float]] = {query: {} for query in data.queries}
    planted_pairs = set()
    for query, document in pairs:
        other = data.document_ids[random.integers(0, len(data.corpus))] if (query, document) in wrong else document
        qrels[query][other] = 1.0
        planted_pairs |= {(query, other)} if other != document else set()
    changed = RetrievalDataset(data.corpus, data.queries, qrels)
    base = np.load(root / "minilm" / "corpus.f16.npy").astype(np.float32)
    vectors = every[[row_of[query] for query in changed.queries]]
    nudge = fit(changed, "minilm", method="nudge-n", document_vectors=base, query_vectors=vectors)
    found = suspects(nudge, base, documents=data.corpus, most=len(planted_pairs))
    hits = sum((one.query_id, one.document) in planted_pairs for one in found)
    assert hits / len(found) >= 3 * len(planted_pairs) / len(pairs)


# -- another model


def test_labels_carry_over_to_another_model_and_both_are_compared_on_the_same_queries(nudge: Nudge) -> None:
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((DIMENSION, DIMENSION)))[0]
    other, base = Model("other", rotation, 0.2), Model().encode_documents(list(CORPUS.values()))
    moved = migrate(nudge, other, CORPUS, old_vectors=base)
    assert moved.nudge is not None
    assert moved.nudge.encoder == "other"
    assert moved.queries == 24
    assert list(moved.figures) == [
        *("old model", "old model + nudge", "new queries mapped, old model + nudge", "new model", "new model + nudge")
    ]
    assert moved.figures["new model + nudge"] > moved.figures["new model"] + 0.1
    assert moved.kept is not None
    assert moved.kept > 0.5
    assert f"keep {moved.kept:.0%}" in str(moved)
    assert [label.query for label in moved.nudge.labels.labels] == list(labels(0, 120).queries)
    assert set(moved.nudge.labels.query_vectors("other")) == set(labels(0, 120).queries)
    expected = fit(labels(0, 120), other, method="nudge")
    assert moved.nudge.ids == expected.ids
    assert np.allclose(moved.nudge.vectors, expected.vectors, atol=1e-6)
    again = moved.nudge.refit(labels(120, 160), encoder=other, documents=CORPUS)
    assert np.allclose(again.vectors, fit(labels(0, 160), other, method="nudge").vectors, atol=1e-6)


def test_a_bridge_embeds_no_more_than_queries_and_a_sample(nudge: Nudge) -> None:
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((DIMENSION, DIMENSION)))[0][:, :12]
    base = Model().encode_documents(list(CORPUS.values()))
    moved = bridge(nudge, Model("smaller", rotation), CORPUS, base)
    assert moved.nudge is None
    assert moved.space_map is not None
    assert moved.space_map.kind == "ridge"
    assert moved.space_map.apply(np.ones((2, 12))).shape == (2, DIMENSION)
    assert "new model" not in moved.figures


def test_a_rotation_is_found_exactly() -> None:
    random = np.random.default_rng(0)
    old, rotation = random.standard_normal((60, 8)), np.linalg.qr(random.standard_normal((8, 8)))[0]
    found = fit_space_map(old @ rotation.T, old)
    assert found.kind == "orthogonal"
    assert np.allclose(found.matrix, rotation, atol=1e-5)
    with pytest.raises(InputError, match="10 or more"):
        fit_space_map(old[:5], old[:5])


def test_the_same_model_is_no_migration(nudge: Nudge) -> None:
    with pytest.raises(InputError, match="refit"):
        nudge.migrate(Model(), CORPUS)


@pytest.mark.parametrize(
    "wrong", [{"held_out": "x"}, {"held_out": 0}, {"seed": -1}, {"seed": "x"}, {"encoder": "a name"}, {"encoder": None}]
)
def test_a_migration_refuses_what_is_none(nudge: Nudge, wrong: dict[str, Any]) -> None:
    given: dict[str, Any] = {"encoder": Model("other"), **wrong}
    encoder, old_vectors = given.pop("encoder"), np.ones((DOCUMENTS, DIMENSION))
    with pytest.raises((InputError, MismatchError)):
        migrate(nudge, encoder, CORPUS, **given)
    with pytest.raises((InputError, MismatchError)):
        bridge(nudge, encoder, CORPUS, old_vectors, **given)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"half_life": 0}, "half_life"),
        ({"half_life": -3}, "half_life"),
        ({"half_life": "x"}, "half_life"),
        ({"keep_degrees": "x"}, "keep_degrees"),
        ({"keep_degrees": float("nan")}, "keep_degrees"),
        ({"query_vectors": [[1.0]]}, "numbers"),
    ],
)
def test_a_refit_refuses_what_is_none(nudge: Nudge, wrong: dict[str, Any], message: str) -> None:
    base = Model().encode_documents(list(CORPUS.values()))
    more = RetrievalDataset(CORPUS, {"new": "a new one"}, {"new": {"d0": 1.0}})
    for ask in (refit, health):
        with pytest.raises(InputError, match=message):
            ask(nudge, more, base, documents=CORPUS, **{"query_vectors": [[1.0] * DIMENSION], **wrong})
    with pytest.raises(InputError, match="most"):
        suspects(nudge, most=0)


def test_labels_over_many_documents_with_one_text_are_found_in_a_moment() -> None:
    log = LabelLog()
    log.add(RetrievalDataset({"gone": "one text"}, {"q": "?"}, {"q": {"gone": 1}}))
    dataset, _, changes = labels_over_documents(log, {f"d{number}": "one text" for number in range(30_000)})
    assert len(dataset.qrels["q"]) == 30_000
    assert len(changes.renamed["gone"]) == 30_000
