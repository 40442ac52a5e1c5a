"""Drift: angles, neighbours and lost ranks against their definitions, for directions and for lengths."""

from __future__ import annotations

import importlib
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import InputError, MismatchError
from nudge_integrations.evaluation import Drift, drift, evaluate
from nudge_integrations.solver import solve

COUNT, WIDTH = 60, 8
IDS = [f"d{row}" for row in range(COUNT)]


def fitted(method: str = "nudge-n", **options: Any) -> tuple[Nudge, NDArray[np.float32]]:
    random = np.random.default_rng(2)
    documents = random.standard_normal((COUNT, WIDTH)).astype(np.float32)
    queries = random.standard_normal((12, WIDTH))
    relevance = sparse.csr_array((np.ones(12), (np.arange(12), np.arange(12) * 3)), shape=(12, COUNT))
    solution = solve(documents, queries, relevance, method=method, **{"step": 0.6, **options})
    nudge = Nudge.from_solution(
        solution, ids=IDS, documents=documents, texts=None, encoder="random numbers", dataset_hash=""
    )
    return nudge, documents


def neighbours_of(vectors: NDArray[Any], row: int, k: int) -> set[int]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    order = np.argsort(-(unit @ unit[row]), kind="stable")
    return set(order[order != row][:k].tolist())


@pytest.mark.parametrize("method", ["nudge-n", "nudge-m"])
@pytest.mark.parametrize("blocks", [(16_384, 512), (7, 5)])
def test_angles_and_neighbours_match_a_plain_computation(
    method: str, blocks: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("nudge_integrations.evaluation.drift")
    monkeypatch.setattr(module, "_BLOCK_ROWS", blocks[0])
    monkeypatch.setattr(module, "_BLOCK_QUERIES", blocks[1])
    nudge, documents = fitted(method)
    found = drift(nudge, IDS, documents, neighbours=6)
    served = nudge.apply(IDS, documents)
    assert (found.ids, found.documents, found.neighbours) == (nudge.ids, COUNT, 6)
    for place, document in enumerate(nudge.ids):
        row = IDS.index(document)
        old, new = documents[row].astype(np.float64), served[row].astype(np.float64)
        cosine = old @ new / np.linalg.norm(old) / np.linalg.norm(new)
        assert np.cos(found.radians[place]) == pytest.approx(cosine, abs=1e-6)
        assert found.lengths[place] == pytest.approx(np.linalg.norm(new), abs=1e-6)
        kept = neighbours_of(documents, row, 6) & neighbours_of(served, row, 6)
        assert found.kept[place] == pytest.approx(len(kept) / 6)
    assert 0 < found.kept.mean() < 1
    if method == "nudge-n":
        assert found.degrees == pytest.approx(np.full(12, np.degrees(0.6)), abs=1e-3)
        assert found.lengths == pytest.approx(np.ones(12), abs=1e-6)
    else:
        assert found.lengths.max() > 1.05


def test_the_order_of_the_corpus_and_the_length_of_its_vectors_do_not_matter() -> None:
    nudge, documents = fitted()
    found = drift(nudge, IDS, documents)
    turned = drift(nudge, IDS[::-1], documents[::-1] * 3)
    assert turned.kept == pytest.approx(found.kept)
    assert turned.radians == pytest.approx(found.radians, abs=1e-6)


def test_a_shift_of_all_other_documents_is_seen() -> None:
    nudge, documents = fitted("contrastive", shift=True, step=None)
    found = drift(nudge, IDS, documents)
    expected = 0.0 if nudge.shift is None else np.linalg.norm(nudge.shift)
    assert found.shift == pytest.approx(expected)


def test_distribution_in_degrees() -> None:
    radians = np.radians([10.0, 21.0, 29.0, 40.0])
    found = Drift(tuple("abcd"), 9, radians, np.ones(4), 10, np.array([1.0, 0.5, 0.5, 0.0]), 0.0, None)
    assert found.quantiles([0, 0.5, 1]) == pytest.approx({0: 10.0, 0.5: 25.0, 1: 40.0})
    counts, edges = found.histogram(bins=3)
    assert counts.tolist() == [1, 1, 2]
    assert edges == pytest.approx([0, 40 / 3, 80 / 3, 40])
    plain = json.loads(json.dumps(found.to_dict()))
    assert (plain["moved"], plain["documents"], plain["neighbours_kept"]) == (4, 9, 0.5)
    assert plain["degrees"]["0.5"] == pytest.approx(25.0)
    assert repr(found) == (
        "Drift(4 of 9 documents moved by 25.00 degrees (median), 40.00 at most; "
        "50.0% of their 10 nearest neighbours stayed)"
    )


def test_where_nothing_moved_nothing_drifted() -> None:
    nudge, documents = fitted(step=0.0)
    found = drift(nudge, IDS, documents)
    assert found.quantiles()[1.0] == pytest.approx(0.0, abs=1e-4)
    assert found.kept.mean() == 1.0 if len(found.ids) else found.to_dict()["neighbours_kept"] == 1.0
    nobody = Drift((), 5, np.empty(0), np.empty(0), 10, np.empty(0), 0.0, None)
    assert nobody.quantiles() == dict.fromkeys((0.0, 0.25, 0.5, 0.75, 0.9, 1.0), 0.0)
    assert json.dumps(nobody.to_dict()).count("NaN") == 0


def test_documents_that_did_not_move_and_lost_rank_are_counted() -> None:
    nudge, documents = fitted()
    moved, (a, b, c, d) = nudge.ids[0], [document for document in IDS if document not in nudge][:4]
    dataset = RetrievalDataset(
        dict.fromkeys(IDS, "-"), {"q": "?", "r": "?", "s": "?"}, {"q": {a: 1, moved: 1}, "r": {b: 1, d: 1}, "s": {c: 1}}
    )
    before = evaluate({"q": [a, b, moved], "r": [b, c], "s": [d, c]}, dataset)
    after = evaluate({"q": [moved, a, b], "r": [c, d], "s": [c, d]}, dataset)
    found = drift(nudge, IDS, documents, before=before, after=after).unmoved
    assert found is not None
    assert (found.retrieved, found.fell) == (4, 3)  # a behind the moved one, b behind it and lost, d behind c
    assert (found.relevant, found.relevant_fell, found.relevant_rose) == (4, 2, 2)
    assert drift(nudge, IDS, documents, before=before, after=before).to_dict()["unmoved"]["fell"] == 0


def test_a_corpus_of_one_has_no_neighbours_to_lose() -> None:
    solution = solve(np.eye(2)[:1], [[0.0, 1.0]], sparse.csr_array([[1.0]]), method="nudge-n", step=0.3)
    nudge = Nudge.from_solution(
        solution, ids=["a"], documents=np.eye(2)[:1], texts=None, encoder="toy", dataset_hash=""
    )
    assert drift(nudge, ["a"], np.eye(2)[:1]).kept.tolist() == [1.0] * len(nudge)


def test_what_does_not_fit_is_refused() -> None:
    nudge, documents = fitted()
    dataset = RetrievalDataset({"d0": "-"}, {"q": "?"}, {"q": {"d0": 1}})
    with pytest.raises(InputError, match="neighbours must be at least 1"):
        drift(nudge, IDS, documents, neighbours=0)
    with pytest.raises(InputError, match="60 vectors came with 59 ids"):
        drift(nudge, IDS[:-1], documents)
    with pytest.raises(InputError, match=r"'d0' .* moved and is not among the ids"):
        drift(nudge, IDS[1:], documents[1:])
    with pytest.raises(InputError, match="give before and after"):
        drift(nudge, IDS, documents, before=evaluate({"q": ["d0"]}, dataset))
    with pytest.raises(MismatchError, match="'d0'"):
        drift(nudge, IDS, nudge.apply(IDS, documents))
