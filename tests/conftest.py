"""What many tests need: the real collections beside the checkout with their vectors, and an encoder without a model."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

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


# What may be skipped where CI is set, with why: everything else that is skipped there is a failure.
EXPECTED_SKIPS = [
    "no chromium and chromedriver on this machine",
    "got empty parameter set",  # a page of docs without a script
    r"all tests skipped by \+SKIP option",  # examples of what is not installed
]
if not os.environ.get("NUDGE_SCALE"):  # `make test-scale` installs these
    EXPECTED_SKIPS += ["could not import '(lance|ray)'"]


def _skips(config: pytest.Config) -> dict[str, int]:
    """Return reason -> how many tests or modules were skipped for it."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    reports = [] if reporter is None else reporter.stats.get("skipped", [])
    reasons = (report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr) for report in reports)
    return dict(Counter(reason.removeprefix("Skipped: ") for reason in reasons))


def _unexpected(config: pytest.Config) -> list[str]:
    if not os.environ.get("CI"):
        return []
    return [reason for reason in _skips(config) if not any(re.search(known, reason) for known in EXPECTED_SKIPS)]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """End every run with what was skipped, and why."""
    for reason, count in sorted(_skips(config).items()):
        terminalreporter.write_line(f"skipped {count}: {reason}")
    for reason in _unexpected(config):
        terminalreporter.write_line(f"CI is set, and nobody expected this to be skipped: {reason}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run of CI that skipped what nobody expected."""
    if _unexpected(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
