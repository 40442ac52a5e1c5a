"""store.refit: labels over time on a live store, and the difference planned and applied."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nudge_integrations import Nudge, RetrievalDataset, fit
from nudge_integrations.errors import InputError
from nudge_integrations.stores import fit_store, open_store

COUNT, DIMENSION = 60, 12
RANDOM = np.random.default_rng(0)
BASE = RANDOM.standard_normal((COUNT, DIMENSION)).astype(np.float32)
BASE /= np.linalg.norm(BASE, axis=1, keepdims=True)
HIDDEN = RANDOM.standard_normal((COUNT, DIMENSION)).astype(np.float32)
TEXTS = {f"d{row}": f"document {row}" for row in range(COUNT)}


def labels(start: int, stop: int) -> tuple[RetrievalDataset, np.ndarray]:
    numbers = range(start, stop)
    qrels = {f"q{n}": {f"d{n % 20}": 1.0} for n in numbers}
    noise = np.stack([np.random.default_rng(n).standard_normal(DIMENSION) for n in numbers])
    asked = np.array(numbers) % 20
    rows = np.asarray(BASE[asked] + 0.4 * HIDDEN[asked] + 0.1 * noise, np.float32)
    return RetrievalDataset(TEXTS, {f"q{n}": f"question {n}" for n in numbers}, qrels), rows


def test_a_store_is_refitted_and_only_the_difference_is_written(tmp_path: Path) -> None:
    held = {document: row.copy() for document, row in zip(TEXTS, BASE, strict=True)}
    store = open_store(held, journal=tmp_path / "journal")
    first, rows = labels(0, 60)
    nudge = fit_store(store, first, "toy", method="nudge", query_vectors=rows)
    nudge.save(tmp_path / "nudged")
    store.apply(store.plan(nudge))
    more, new_rows = labels(60, 120)
    newer = Nudge.load(tmp_path / "nudged").refit(more, store, query_vectors=new_rows)
    both, both_rows = labels(0, 120)
    together = fit(both, "toy", method="nudge", document_vectors=BASE, query_vectors=both_rows)
    assert newer.ids == together.ids
    assert np.allclose(newer.vectors, together.vectors, atol=1e-5)
    store.apply(store.plan(newer))
    served = np.stack([np.asarray(held[document]) for document in newer.ids])
    assert np.allclose(served, newer.vectors, atol=1e-6)
    assert len(newer.labels) == 120


def test_rows_that_are_gone_or_were_edited_make_labels_wait(tmp_path: Path) -> None:
    held = {document: row for document, row in zip(TEXTS, BASE, strict=True) if document != "d3"}
    data, rows = labels(0, 60)
    nudge = fit(data, "toy", method="nudge", document_vectors=BASE, query_vectors=rows)
    newer = open_store(held, journal=tmp_path).refit(nudge, documents={"d4": "another text"})
    assert {"d3", "d4"}.isdisjoint(newer.ids)
    assert len(newer.labels) == 60
    with pytest.raises(InputError, match="no label is about a row"):
        open_store({"z": BASE[0], "y": BASE[1]}, journal=tmp_path / "other").refit(nudge)
