"""What many tests need: the real collections beside the checkout with their vectors, and an encoder without a model."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from nudge_integrations import RetrievalDataset

# How long an example takes says more about the machine than about the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

COLLECTIONS = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@dataclass(frozen=True)
class FakeEncoder:
    """Unit vectors that depend on the words of a text and on nothing else: texts with common words are near."""

    dimension: int = 32
    fingerprint: str = "fake-encoder"

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encode(texts)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encode(texts)

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            total = np.sum([self._word(word) for word in text.lower().split() or [""]], axis=0)
            vectors[row] = total / np.linalg.norm(total)
        return vectors

    def _word(self, word: str) -> NDArray[np.float64]:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.dimension)


@pytest.fixture
def encoder() -> FakeEncoder:
    """Encode without a model: seeded by the hash of each word, 32 dimensions, the same in every process."""
    return FakeEncoder()


@pytest.fixture(scope="session")
def collection() -> Callable[[str], Path]:
    """Find the folder of a real collection; where it is absent, skip the test, or fail it where CI is set."""

    def find(name: str) -> Path:
        folder = COLLECTIONS / name
        if not folder.is_dir():
            if os.environ.get("CI"):
                pytest.fail(f"CI is set, but the collection {name!r} is not beside the checkout (looked for {folder})")
            pytest.skip(f"the collection {name!r} is not beside the checkout (looked for {folder})")
        return folder

    return find


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
