"""A tokenizer of one's own: in the fitted nudge, given again to a saved one, and the same documents by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nudge_integrations import Nudge, RetrievalDataset, fit
from nudge_integrations.errors import InputError
from nudge_integrations.fusion import Bm25
from nudge_integrations.pipeline.nudged_index import NudgedIndex

COUNT = 60
IDS = [f"d{row}" for row in range(COUNT)]
# Words of one letter, between bars, which BM25's own tokenizer does not see.
TEXTS = [f"{chr(97 + row % 26)}|{chr(65 + row // 26)}" for row in range(COUNT)]
VECTORS = (1.0 + 0.02 * np.random.default_rng(0).standard_normal((COUNT, 8))).astype(np.float32)
DATASET = RetrievalDataset(
    dict(zip(IDS, TEXTS, strict=True)),
    {f"q{row}": f"{text}|?{row}" for row, text in enumerate(TEXTS)},
    {f"q{row}": {IDS[row]: 1.0} for row in range(COUNT)},
)


def bars(text: str) -> list[str]:
    return text.split("|")


def found(nudge: Nudge) -> list[list[str]]:
    index = NudgedIndex()
    index.insert(IDS, VECTORS, TEXTS, [{}] * COUNT)
    index.apply(nudge)
    texts = list(DATASET.queries.values())
    return [[hit.id for hit in index.search([1.0] * 8, 3, text=text)] for text in texts]


def test_a_tokenizer_serves_and_is_given_again_to_a_saved_nudge(tmp_path: Path) -> None:
    vectors: dict[str, Any] = {"document_vectors": VECTORS, "query_vectors": np.ones((COUNT, 8), np.float32)}
    nudge = fit(DATASET, "toy", method="nudge-n", signals=[Bm25(tokenizer=bars)], **vectors)
    assert nudge.fusion is not None
    assert [line[0] for line in found(nudge)] == IDS
    nudge.save(tmp_path / "nudged")
    with pytest.raises(InputError, match="give tokenizer= as it was then"):
        found(Nudge.load(tmp_path / "nudged"))
    again = Nudge.load(tmp_path / "nudged", tokenizer=bars)
    assert found(again) == found(nudge)
    plain = fit(DATASET, "toy", method="nudge-n", step=0.1, **vectors)
    plain.save(tmp_path / "plain")
    with pytest.raises(InputError, match="weighs no BM25"):
        Nudge.load(tmp_path / "plain", tokenizer=bars)
