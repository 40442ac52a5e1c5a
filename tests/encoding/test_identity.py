"""Whether two models are the same: settings that decide vectors, fingerprints of different origin, stored vectors."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from llama_index.core.embeddings import MockEmbedding
from pydantic import BaseModel, SecretStr

from nudge_integrations import RetrievalDataset, fit, langchain, llama_index
from nudge_integrations.encoding import CachedEncoder, Encoder
from nudge_integrations.encoding.identity import check_stored_vectors, known_to_differ, settings_fingerprint
from nudge_integrations.errors import InputError, MismatchError

DATASET = RetrievalDataset({"d": "cats purr", "e": "dogs bark"}, {"q": "who purrs?"}, {"q": {"d": 1}})


class Remote(BaseModel, Embeddings):
    """A model with the settings that partner packages have; its vectors depend on those that decide."""

    model: str = "small"
    dimensions: int = 8
    task_type: str = "retrieval"
    query_instruction: str = ""
    encode_kwargs: dict[str, Any] = {}
    model_kwargs: dict[str, Any] = {}
    api_key: SecretStr = SecretStr("secret")
    base_url: str = "https://here"
    chunk_size: int = 16

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        kept = {name: value for name, value in self.encode_kwargs.items() if name != "batch_size"}
        said = f"{self.model}{self.task_type}{self.query_instruction}{kept}"
        return DeterministicFakeEmbedding(size=self.dimensions).embed_documents([f"{said}{text}" for text in texts])

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def name_of(**settings: Any) -> str:
    return langchain.as_encoder(Remote(**settings)).fingerprint


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "large"},
        {"dimensions": 16},
        {"task_type": "clustering"},
        {"query_instruction": "query: "},
        {"encode_kwargs": {"prompt": "query: "}},
        {"encode_kwargs": {"normalize_embeddings": True}},
        {"model_kwargs": {"revision": "v2"}},
    ],
)
def test_whatever_changes_vectors_has_vectors_of_its_own_in_a_cache(settings: dict[str, Any], tmp_path: Path) -> None:
    one, other = Remote(), Remote(**settings)
    CachedEncoder(langchain.as_encoder(one), tmp_path).encode_documents(["cats"])
    cached = CachedEncoder(langchain.as_encoder(other), tmp_path)
    np.testing.assert_allclose(cached.encode_documents(["cats"])[0], other.embed_documents(["cats"])[0], rtol=1e-6)
    assert cached.misses == 1
    assert name_of(**settings) != name_of()


def test_how_a_model_is_run_does_not_count() -> None:
    ways = {"api_key": SecretStr("other"), "base_url": "https://there", "chunk_size": 1}
    ways |= {"encode_kwargs": {"batch_size": 4}, "model_kwargs": {"device": "cpu"}}
    assert name_of(**ways) == name_of()
    assert "secret" not in name_of()


def test_embeddings_of_any_class_are_told_apart_by_what_they_hold() -> None:
    class Prompted(Embeddings):
        model = "small"

        def __init__(self, prompt: str, inner: Embeddings) -> None:
            self.prompt, self.inner, self.calls = prompt, inner, 0

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return self.inner.embed_documents([self.prompt + text for text in texts])

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    used = Prompted("a", Remote())
    used.calls = 9
    names = [
        langchain.as_encoder(one).fingerprint
        for one in (Prompted("a", Remote()), used, Prompted("b", Remote()), Prompted("a", Remote(dimensions=4)))
    ]
    assert names[0] == names[1]
    assert len({*names}) == 3
    assert langchain.as_encoder(DeterministicFakeEmbedding(size=4)).fingerprint != (
        langchain.as_encoder(DeterministicFakeEmbedding(size=5)).fingerprint
    )


def test_a_cache_around_embeddings_is_the_same_model() -> None:
    classic = pytest.importorskip("langchain_classic.embeddings")
    stores = pytest.importorskip("langchain_core.stores")
    around = classic.CacheBackedEmbeddings.from_bytes_store(Remote(), stores.InMemoryByteStore(), key_encoder="sha256")
    assert langchain.as_encoder(around).fingerprint == name_of()


def test_both_edges_say_the_same_about_the_same_model(encoder: Encoder) -> None:
    native = fit(DATASET, encoder, step=0.5)
    theirs, ours = llama_index.as_embedding(encoder), langchain.as_embedding(encoder)

    class Plain(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return ours.embed_documents(texts)

        def embed_query(self, text: str) -> list[float]:
            return ours.embed_query(text)

    of_langchain = fit(DATASET, langchain.as_encoder(Plain()), step=0.5)
    of_mock = fit(DATASET, llama_index.as_encoder(MockEmbedding(2)), document_vectors=np.eye(2), query_vectors=[[1, 2]])
    for nudge in (native, of_langchain):
        llama_index.NudgedEmbedding(theirs, nudge)
        langchain.NudgedEmbeddings(ours, nudge)
        langchain.NudgedEmbeddings(Plain(), nudge)
    langchain.NudgedEmbeddings(Plain(), of_mock)
    with pytest.raises(MismatchError, match="belongs to the encoder"):
        langchain.NudgedEmbeddings(Remote(), of_langchain)
    with pytest.raises(MismatchError, match="belongs to the encoder"):
        llama_index.NudgedEmbedding(MockEmbedding(3), of_mock)


def test_fingerprints_are_compared_where_they_can_be() -> None:
    here = settings_fingerprint("langchain", "app.Model", "small", {})
    assert not known_to_differ(here, settings_fingerprint("langchain", "__main__.Model", "small", {}))
    assert known_to_differ(here, settings_fingerprint("langchain", "app.Model", "llama3:8b", {}))
    assert not known_to_differ(here, settings_fingerprint("llama_index", "Model", "large", {}))
    assert not known_to_differ(here, "of an encoder")
    assert known_to_differ("of one encoder", "of another")


def test_a_few_stored_vectors_are_embedded_again(encoder: Encoder) -> None:
    texts = {f"d{row}": f"word{row}" for row in range(20)}
    vectors = encoder.encode_documents(list(texts.values()))
    asked: list[str] = []

    def embed(some: list[str]) -> Any:
        asked.extend(some)
        return encoder.encode_documents(some)

    check_stored_vectors(embed, texts, 3 * vectors, range(20))
    assert len(asked) == 4
    with pytest.raises(MismatchError, match="stored vector of 'd"):
        check_stored_vectors(embed, texts, vectors[::-1].copy(), range(20))
    with pytest.raises(MismatchError, match="32 numbers, the stored ones have 31"):
        check_stored_vectors(embed, texts, vectors[:, 1:], range(20))
    with pytest.raises(InputError, match=r"'word\d+' is None"):
        check_stored_vectors(lambda some: [None for _ in some], texts, vectors, range(20))
    check_stored_vectors(embed, {"d": " ", "e": "zero"}, np.zeros((2, 32), np.float32), range(2))
    check_stored_vectors(embed, texts, vectors[::-1].copy(), [])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])  # noqa: S301  our own
def test_a_cached_encoder_is_copied_and_sent_to_other_processes(copied: Any, encoder: Encoder, tmp_path: Path) -> None:
    cached = CachedEncoder(encoder, tmp_path)
    expected = cached.encode_documents(["cats", "dogs"])
    again = copied(cached)
    assert again.fingerprint == cached.fingerprint
    np.testing.assert_array_equal(again.encode_documents(["cats", "owls"])[0], expected[0])
    assert (again.hits, again.misses) == (1, 3)
    cached.encode_documents(["owls"])
    assert (cached.hits, cached.misses) == (1, 2)


@pytest.mark.parametrize(
    ("vectors", "named"),
    [
        ([[1.0, 2.0], None], "'dogs bark' is None"),
        ([[1.0, 2.0], []], "'dogs bark' is empty"),
        ([[1.0, 2.0], [1.0]], "'dogs bark' has 1 numbers"),
        ([[1.0, 2.0], [1.0, float("nan")]], "'dogs bark' is not finite"),
        ([[1.0, 2.0]], r"shape \(1, 2\) for 2 texts"),
    ],
)
def test_vectors_that_a_remote_model_left_out_are_named_by_their_text(vectors: Any, named: str, tmp_path: Path) -> None:
    class Broken(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return vectors[: len(texts)]  # type: ignore[no-any-return]

        def embed_query(self, text: str) -> list[float]:
            return vectors[-1]  # type: ignore[no-any-return]

    texts = ["cats purr", "dogs bark"]
    for encoder in (langchain.as_encoder(Broken()), CachedEncoder(langchain.as_encoder(Broken()), tmp_path)):
        with pytest.raises(InputError, match=named):
            encoder.encode_documents(texts)
