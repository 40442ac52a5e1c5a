"""What many tests need: the real collections beside the checkout, and an encoder that needs no model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

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
    """Find the folder of a real collection, or skip the test where the collections are not beside the checkout."""

    def find(name: str) -> Path:
        folder = COLLECTIONS / name
        if not folder.is_dir():
            pytest.skip(f"the collection {name!r} is not beside the checkout (looked for {folder})")
        return folder

    return find
