"""engine.refit: labels over time through the LlamaIndex edge."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import TextNode

from nudge_integrations import RetrievalDataset
from nudge_integrations.errors import InputError
from nudge_integrations.llama_index import NudgeFinetuneEngine

WORDS = [f"word{number}" for number in range(24)]
TEXTS = {f"n{number}": f"{WORDS[number]} {WORDS[(number + 1) % 24]} {WORDS[(number + 5) % 24]}" for number in range(24)}


def nodes(prefix: str = "", folder: str = "a") -> list[TextNode]:
    return [TextNode(id_=prefix + i, text=text, metadata={"file": f"{folder}/{i}"}) for i, text in TEXTS.items()]


def labels(start: int, stop: int, prefix: str = "") -> RetrievalDataset:
    """Questions about one of eight nodes, in words of another."""
    numbers = range(start, stop)
    queries = {f"q{n}": f"{WORDS[(n % 8 + 12) % 24]} {WORDS[n % 8]} q{n}" for n in numbers}
    qrels = {f"q{n}": {f"{prefix}n{n % 8}": 1.0} for n in numbers}
    return RetrievalDataset({f"{prefix}{i}": text for i, text in TEXTS.items()}, queries, qrels)


def engine(encoder: Any, data: RetrievalDataset, served: list[TextNode]) -> NudgeFinetuneEngine:
    made = NudgeFinetuneEngine(data, encoder, nodes=served, method="nudge")
    made.finetune()
    return made


def test_refit_is_a_fit_on_everything_and_what_is_served(encoder: Any) -> None:
    grown, together = engine(encoder, labels(0, 30), nodes()), engine(encoder, labels(0, 50), nodes())
    nudge = grown.refit(labels(30, 40))
    nudge = asyncio.run(grown.arefit(labels(40, 50), source="thumbs"))
    assert together.nudge is not None
    assert nudge.ids == together.nudge.ids
    assert np.allclose(nudge.vectors, together.nudge.vectors, atol=1e-6)
    assert grown.nudge is nudge
    assert nudge.labels.labels[-1].source == "thumbs"
    grown.finetune()
    assert grown.nudge.ids == nudge.ids


def test_a_saved_nudge_is_refitted_without_its_train_dataset(encoder: Any, tmp_path: Path) -> None:
    engine(encoder, labels(0, 40), nodes()).save(tmp_path)
    later = NudgeFinetuneEngine.from_artifact(tmp_path, encoder, nodes())
    nudge = later.refit(labels(40, 50))
    expected = engine(encoder, labels(0, 50), nodes()).nudge
    assert expected is not None
    assert np.allclose(nudge.vectors, expected.vectors, atol=1e-6)
    later.save(tmp_path)
    assert len(NudgeFinetuneEngine.from_artifact(tmp_path, encoder, nodes()).nudge.labels) == 50  # type: ignore[union-attr]


def test_nodes_that_come_with_new_ids_and_other_metadata_are_known_by_their_text(encoder: Any, tmp_path: Path) -> None:
    engine(encoder, labels(0, 40), nodes()).save(tmp_path)
    later = NudgeFinetuneEngine.from_artifact(tmp_path, encoder, nodes("new-", folder="b"))
    nudge = later.refit(labels(40, 44, prefix="new-"))
    assert len(nudge) > 0
    assert all(node_id.startswith("new-") for node_id in nudge.ids)
    assert len(nudge.labels) == 44


def test_an_engine_that_was_not_fitted_says_so(encoder: Any) -> None:
    with pytest.raises(InputError, match="finetune"):
        NudgeFinetuneEngine(labels(0, 40), encoder, nodes=nodes()).refit()
