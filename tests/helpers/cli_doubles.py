"""Inputs of the command line in tests: labels that can be learned, and by import path an encoder and a model."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.dataset import RetrievalDataset

ANIMALS = ("cat", "dog", "cow", "hen", "owl", "pig", "fox", "bee")
SOUNDS = ("purr", "bark", "moo", "cluck", "hoot", "grunt", "yelp", "buzz")
ENCODER_PATH = "cli_doubles:ENCODER"


def animal_dataset() -> RetrievalDataset:
    """Sounds never share a word with their animal: only labels can bring them together."""
    queries = {f"q{i}": f"who can {sound} {i // 8}" for i, sound in enumerate(SOUNDS * 15)}
    qrels = {f"q{i}": {ANIMALS[i % 8]: 1.0} for i in range(len(queries))}
    return RetrievalDataset({name: f"the {name} lives here" for name in ANIMALS}, queries, qrels)


def animal_folder(folder: Path) -> Path:
    """Write 96 train and 24 test queries as a BEIR folder."""
    train, test = animal_dataset().split((0.8, 0.2), seed=1)
    train.to_beir(folder, "train")
    test.to_beir(folder, "test")
    return folder


class WordEncoder:
    """Unit vectors that depend on the words of a text and on nothing else."""

    fingerprint = "words"

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode_queries(texts)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [sum((self._word(word) for word in text.lower().split()), np.zeros(32)) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32).reshape(-1, 32)

    def _word(self, word: str) -> NDArray[np.float64]:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(32)


class CodelessEncoder(WordEncoder):
    """Sees no word with a digit, as dense models hardly see codes."""

    fingerprint = "words without codes"

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return super().encode_queries([re.sub(r"\w*\d\w*", "", text) for text in texts])


class OtherEncoder(WordEncoder):
    """The same by another name, as another model would be."""

    fingerprint = "other words"


class InterruptedEncoder(WordEncoder):
    """Ctrl-C is pressed while documents are embedded."""

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
        return super().encode_documents(texts)


ENCODER = WordEncoder()
CODELESS = CodelessEncoder()


def ask(prompt: str) -> str:
    """A language model that asks about each animal by its name."""
    name = next(name for name in ANIMALS if f"the {name} " in prompt)
    return f"1. Where does the {name} live?\n2. Is this the {name}?"


def broken(prompt: str) -> str:
    """A language model that is down."""
    raise ConnectionError("no route to the model")
