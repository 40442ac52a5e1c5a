"""Real collections with real vectors that need no model: all-MiniLM-L6-v2's, looked up by text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nudge_integrations import RetrievalDataset


@dataclass(frozen=True)
class LookupEncoder:
    """Vectors that are there already, by text."""

    documents: dict[str, NDArray[np.float32]]
    queries: dict[str, NDArray[np.float32]]
    fingerprint: str = "all-MiniLM-L6-v2, looked up"

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        # A store may embed a text of its own, to learn the dimension.
        other = np.ones(len(next(iter(self.documents.values()))), dtype=np.float32)
        return np.array([self.documents.get(text, other) for text in texts], dtype=np.float32).reshape(len(texts), -1)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([self.queries[text] for text in texts], dtype=np.float32).reshape(len(texts), -1)


@dataclass(frozen=True)
class RealCollection:
    """One collection of the folder beside the checkout."""

    folder: Path
    encoder: LookupEncoder

    def split(self, name: str) -> RetrievalDataset:
        """Its train, dev or test labels."""
        return RetrievalDataset.from_beir(self.folder, name)


@pytest.fixture(scope="session")
def real(collection: Callable[[str], Path]) -> Callable[[str], RealCollection]:
    """Load a collection by name, with its vectors; skips where it is not there."""

    @cache
    def load(name: str) -> RealCollection:
        folder = collection(name)
        return RealCollection(folder, LookupEncoder(_by_text(folder, "corpus"), _by_text(folder, "queries")))

    return load


def _by_text(folder: Path, what: str) -> dict[str, NDArray[np.float32]]:
    vectors = np.load(folder / "minilm" / f"{what}.f16.npy").astype(np.float32)
    lines = [json.loads(line) for line in (folder / f"{what}.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [" ".join(part for part in (line.get("title"), line["text"]) if part) for line in lines]
    return dict(zip(texts, vectors, strict=True))
