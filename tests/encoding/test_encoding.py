"""Encoders and their cache: every text embedded once, whatever is killed, cut off, damaged or written at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nudge_integrations.encoding import (
    CachedEncoder,
    Encoder,
    SentenceTransformerEncoder,
    bundled_model,
    text_hash,
)
from nudge_integrations.encoding.embedding_cache import HEADER, EmbeddingCache, text_key
from nudge_integrations.errors import InputError, MissingExtraError


class Counting:
    """An encoder that tells what it was asked; documents and queries differ in sign, and text by its hash."""

    def __init__(self, fingerprint: str = "counting", dimension: int = 4) -> None:
        self.fingerprint = fingerprint
        self.dimension = dimension
        self.asked: list[str] = []

    def _encode(self, texts: Sequence[str], sign: int) -> NDArray[np.float32]:
        self.asked += texts
        rows = [[sign * int(text_hash(text)[i : i + 4], 16) for i in range(self.dimension)] for text in texts]
        return np.array(rows, np.float32).reshape(len(texts), self.dimension)

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encode(texts, 1)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encode(texts, -1)


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.vectors"))


def test_text_hash_is_the_sha256_of_the_bytes_and_takes_any_string() -> None:
    assert text_hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert text_hash("é") != text_hash("e\u0301")
    assert len(text_hash("\ud800")) == 64


def test_the_protocol_knows_an_encoder_when_it_sees_one(encoder: Any, tmp_path: Path) -> None:
    assert isinstance(encoder, Encoder)
    assert isinstance(CachedEncoder(encoder, tmp_path), Encoder)
    assert not isinstance(SimpleNamespace(encode_documents=len), Encoder)


# -------------------------------------------------------------------------------------------------- the cache


def test_only_what_is_missing_is_embedded_once_and_in_its_role(tmp_path: Path) -> None:
    inner = Counting()
    cached = CachedEncoder(inner, tmp_path)
    first = cached.encode_documents(["a", "b", "a", "c"])
    np.testing.assert_array_equal(first, Counting().encode_documents(["a", "b", "a", "c"]))
    assert inner.asked == ["a", "b", "c"]
    assert (cached.hits, cached.misses) == (0, 3)
    queries = cached.encode_queries(["a"])
    np.testing.assert_array_equal(queries, -first[:1])
    again = CachedEncoder(inner, tmp_path)
    np.testing.assert_array_equal(again.encode_documents(["c", "d", "a"])[[0, 2]], first[[3, 0]])
    assert inner.asked == ["a", "b", "c", "a", "d"]
    assert (again.hits, again.misses) == (2, 1)
    assert "hits=2, misses=1" in repr(again)


def test_no_texts_give_no_rows_of_the_right_width(tmp_path: Path) -> None:
    vectors = CachedEncoder(Counting(), tmp_path).encode_queries([])
    assert vectors.shape == (0, 4)
    assert vectors.dtype == np.float32


def test_models_do_not_see_each_other(tmp_path: Path) -> None:
    CachedEncoder(Counting("one"), tmp_path).encode_documents(["a"])
    other = Counting("two", dimension=6)
    assert CachedEncoder(other, tmp_path).encode_documents(["a"]).shape == (1, 6)
    assert other.asked == ["a"]


@given(st.lists(st.lists(st.text(max_size=3), max_size=8), max_size=4))
@settings(max_examples=30)
def test_a_cached_encoder_gives_what_the_encoder_gives(
    tmp_path_factory: pytest.TempPathFactory, calls: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    inner = Counting()
    for texts in calls:
        vectors = CachedEncoder(inner, folder).encode_documents(texts)
        np.testing.assert_array_equal(vectors, Counting().encode_documents(texts))
        assert vectors.dtype == np.float32
    assert len(inner.asked) == len(set(inner.asked))


@pytest.mark.parametrize("texts", ["one text", ["a", None], [b"a"], [3]])
def test_texts_that_are_no_list_of_strings_are_refused(tmp_path: Path, texts: Any) -> None:
    with pytest.raises(InputError, match="list of strings"):
        CachedEncoder(Counting(), tmp_path).encode_documents(texts)


@pytest.mark.parametrize(
    ("vectors", "named"),
    [
        (np.zeros((1, 4)), r"\(1, 4\) for 2 texts"),
        (np.zeros(4), "encoder.* one row of 4 numbers"),
        (np.zeros((2, 0)), r"\(2, 0\) for 2 texts"),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), "encoder.* 'b' is not finite"),
    ],
)
def test_unusable_vectors_are_refused_and_not_kept(tmp_path: Path, vectors: NDArray[Any], named: str) -> None:
    broken = Counting()
    broken.encode_documents = lambda texts: vectors  # type: ignore[method-assign]
    with pytest.raises(InputError, match=named):
        CachedEncoder(broken, tmp_path).encode_documents(["a", "b"])
    fresh = CachedEncoder(Counting(), tmp_path)
    fresh.encode_documents(["a", "b"])
    assert fresh.misses == 2


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be created"):
        CachedEncoder(Counting(), tmp_path / "file")


def test_progress_is_shown_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    CachedEncoder(Counting(), tmp_path).encode_documents(["a"])
    assert capsys.readouterr().err == ""
    CachedEncoder(Counting(), tmp_path, progress=True).encode_documents(["a", "b"])
    assert "Embedding documents" in capsys.readouterr().err


# ---------------------------------------------------------------------------------- kills, cuts, damage, company


def test_texts_embedded_before_a_failure_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nudge_integrations.encoding.cached_encoder.FLUSH", 3)
    texts = [f"text {i}" for i in range(10)]
    failing = Counting()
    failing.encode_documents = _fail_after(2, failing.encode_documents)  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="power cut"):
        CachedEncoder(failing, tmp_path).encode_documents(texts)
    resumed = CachedEncoder(Counting(), tmp_path)
    np.testing.assert_array_equal(resumed.encode_documents(texts), Counting().encode_documents(texts))
    assert (resumed.hits, resumed.misses) == (6, 4)


def _fail_after(calls: int, encode: Any) -> Any:
    left = iter(range(calls))

    def failing(texts: Sequence[str]) -> NDArray[np.float32]:
        if next(left, None) is None:
            raise RuntimeError("power cut")
        vectors: NDArray[np.float32] = encode(texts)
        return vectors

    return failing


KILLED = """
import sys, time
import numpy as np
from nudge_integrations.encoding import cached_encoder

class Slow:
    fingerprint = "slow"
    def encode_documents(self, texts):
        time.sleep(0.05)
        return np.array([[float(text), 1.0] for text in texts], np.float32)
    encode_queries = encode_documents

cached_encoder.FLUSH = int(sys.argv[2])
cached_encoder.CachedEncoder(Slow(), sys.argv[1]).encode_documents([str(i) for i in range(int(sys.argv[3]))])
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), "5", "100000"])
    deadline = time.monotonic() + 60
    while sum(path.stat().st_size for path in shards(tmp_path)) < 1000 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = EmbeddingCache(tmp_path, "slow").read([text_key("document", str(i)) for i in range(100000)])
    assert len(kept) >= 20
    for i in range(len(kept)):
        np.testing.assert_array_equal(kept[text_key("document", str(i))], [i, 1])
    slow = Counting("slow", dimension=2)
    resumed = CachedEncoder(slow, tmp_path)
    resumed.encode_documents([str(i) for i in range(len(kept) + 7)])
    assert slow.asked == [str(i) for i in range(len(kept), len(kept) + 7)]


def test_processes_that_write_at_once_keep_every_vector(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", KILLED, str(tmp_path), "7", "40"]
    processes = [subprocess.Popen(arguments) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    kept = EmbeddingCache(tmp_path, "slow").read([text_key("document", str(i)) for i in range(40)])
    assert sorted(vector[0] for vector in kept.values()) == list(range(40))


def test_threads_that_write_at_once_keep_every_vector(tmp_path: Path) -> None:
    cached = CachedEncoder(Counting(), tmp_path)
    texts = [[f"{i} {j % 5}" for j in range(i, i + 20)] for i in range(8)]
    results: list[NDArray[np.float32] | None] = [None] * 8

    def encode(i: int) -> None:
        results[i] = cached.encode_documents(texts[i])

    threads = [threading.Thread(target=encode, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, wanted in zip(results, texts, strict=True):
        np.testing.assert_array_equal(result, Counting().encode_documents(wanted))
    fresh = CachedEncoder(Counting(), tmp_path)
    fresh.encode_documents([text for some in texts for text in some])
    assert fresh.misses == 0


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    folder = tmp_path_factory.mktemp("filled")
    CachedEncoder(Counting(), folder).encode_documents(["a", "b", "c"])
    (shard,) = shards(folder)
    return shard, shard.read_bytes()


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_shard_cut_off_or_damaged_anywhere_never_gives_a_wrong_vector(
    filled: tuple[Path, bytes], data: st.DataObject
) -> None:
    shard, whole = filled
    for extra in set(shard.parent.iterdir()) - {shard}:
        extra.unlink()
    end = data.draw(st.integers(0, len(whole)))
    damaged = bytearray(whole[:end])
    if damaged and data.draw(st.booleans()):
        damaged[data.draw(st.integers(0, end - 1))] ^= data.draw(st.integers(1, 255))
    shard.write_bytes(damaged)
    inner = Counting()
    vectors = CachedEncoder(inner, shard.parents[1]).encode_documents(["a", "b", "c"])
    np.testing.assert_array_equal(vectors, Counting().encode_documents(["a", "b", "c"]))
    if bytes(damaged) == whole[:end]:
        record = (len(whole) - HEADER.size) // 3
        assert len(inner.asked) == 3 - max(end - HEADER.size, 0) // record
    again = Counting()
    CachedEncoder(again, shard.parents[1]).encode_documents(["a", "b", "c"])
    assert again.asked == []


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_vectors_that_no_model_gives_are_not_read_though_their_checksums_fit(tmp_path: Path, value: float) -> None:
    CachedEncoder(Counting(), tmp_path).encode_documents(["b"])
    unusable = np.full((1, 4), value, np.float32)
    if value:
        EmbeddingCache(tmp_path, Counting().fingerprint).append([text_key("document", "a")], unusable)
    else:
        (shard,) = shards(tmp_path)
        record = text_key("document", "a") + unusable.tobytes()
        shard.write_bytes(shard.read_bytes() + record + zlib.crc32(record).to_bytes(4, "little"))
    inner = Counting()
    vectors = CachedEncoder(inner, tmp_path).encode_documents(["a", "b"])
    np.testing.assert_array_equal(vectors, Counting().encode_documents(["a", "b"]))
    assert inner.asked == ["a"]


def test_vectors_of_another_dimension_are_embedded_again(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, Counting().fingerprint)
    cache.append([text_key("document", "a"), text_key("document", "b")], np.ones((2, 6), np.float32))
    inner = Counting()
    cached = CachedEncoder(inner, tmp_path)
    vectors = cached.encode_documents(["a", "c"])
    np.testing.assert_array_equal(vectors, Counting().encode_documents(["a", "c"]))
    assert (inner.asked, cached.hits, cached.misses) == (["c", "a"], 0, 2)
    # From then on the dimension is known, so that nothing of another is read.
    np.testing.assert_array_equal(cached.encode_documents(["b"]), Counting().encode_documents(["b"]))


def test_cached_vectors_of_several_dimensions_are_all_embedded_again(tmp_path: Path) -> None:
    CachedEncoder(Counting(), tmp_path).encode_documents(["a"])
    cache = EmbeddingCache(tmp_path, Counting().fingerprint)
    cache.append([text_key("document", "b")], np.ones((1, 6), np.float32))
    vectors = CachedEncoder(Counting(), tmp_path).encode_documents(["a", "b"])
    np.testing.assert_array_equal(vectors, Counting().encode_documents(["a", "b"]))


def test_an_encoder_of_two_dimensions_is_refused(tmp_path: Path) -> None:
    inner = Counting()
    cached = CachedEncoder(inner, tmp_path)
    cached.encode_documents(["a"])
    inner.encode_documents = lambda texts: np.ones((len(texts), 6), np.float32)  # type: ignore[method-assign]
    with pytest.raises(InputError, match="6 dimensions, and of 4 before"):
        cached.encode_documents(["b"])


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_no_shard(tmp_path: Path, make: Callable[[Path], None]) -> None:
    CachedEncoder(Counting(), tmp_path).encode_documents(["a"])
    make(shards(tmp_path)[0].with_name("x.vectors"))
    cached = CachedEncoder(Counting(), tmp_path)
    cached.encode_documents(["a"])
    assert (cached.hits, cached.misses) == (1, 0)


def test_a_shard_that_is_cut_off_while_it_is_in_use_does_not_end_the_process(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, "model")
    keys = [text_key("document", str(row)) for row in range(300)]
    cache.append(keys, np.ones((300, 100), np.float32))
    found = cache.read(keys)
    os.truncate(shards(tmp_path)[0], 1000)
    assert all(vector.all() for vector in found.values())
    assert list(cache.read(keys)) == keys[:2]


def test_a_cache_deleted_under_way_is_filled_again(tmp_path: Path) -> None:
    inner = Counting()
    cached = CachedEncoder(inner, tmp_path)
    cached.encode_documents(["a"])
    shards(tmp_path)[0].unlink()
    cached.encode_documents(["a"])
    assert inner.asked == ["a", "a"]
    assert CachedEncoder(inner, tmp_path).encode_documents(["a"]).shape == (1, 4)
    assert inner.asked == ["a", "a"]


# ------------------------------------------------------------------------------------------ sentence-transformers


class Pooling(torch.nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.pooling_mode = mode


class FakeModel(torch.nn.Sequential):
    """The part of a SentenceTransformer that this package uses, without importing that library."""

    device = "cpu"
    truncate_dim = None
    default_prompt_name = None

    def __init__(
        self, seed: int = 0, *, mode: str = "mean", dtype: torch.dtype = torch.float32, length: int = 8
    ) -> None:
        torch.manual_seed(seed)
        super().__init__(torch.nn.Linear(3, 5, dtype=dtype), Pooling(mode))
        self.prompts = {"query": "ask: ", "document": ""}
        self.max_seq_length = length
        self.lower_case = False
        self.calls: list[tuple[str, list[str], dict[str, Any]]] = []

    def preprocess(self, texts: list[str], task: str) -> dict[str, torch.Tensor]:
        texts = [text.lower() for text in texts] if self.lower_case else texts
        return {"input_ids": torch.tensor([sum(map(ord, text)) for text in texts])}

    def encode_query(self, texts: list[str], **options: Any) -> NDArray[np.float64]:
        self.calls.append(("query", texts, options))
        return np.ones((len(texts), 5))

    def encode_document(self, texts: list[str], **options: Any) -> NDArray[np.float64]:
        self.calls.append(("document", texts, options))
        return np.full((len(texts), 5), 2)


def st_encoder(model: FakeModel, **options: Any) -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(model, **options)  # type: ignore[arg-type]


def test_queries_and_documents_go_their_own_ways_with_their_prompts() -> None:
    model = FakeModel()
    encoder = st_encoder(model, batch_size=7, query_prompt="Q: ")
    assert encoder.encode_queries(["a"]).dtype == np.float32
    encoder.encode_documents(["b", "c"])
    role, texts, options = model.calls[0]
    assert (role, texts, options["prompt"], options["batch_size"]) == ("query", ["a"], "Q: ", 7)
    role, texts, options = model.calls[1]
    assert (role, texts, options["prompt"]) == ("document", ["b", "c"], None)  # None: the model's own
    assert "FakeModel" in repr(encoder)
    assert isinstance(encoder, Encoder)


def test_a_model_gives_no_rows_for_no_texts_and_refuses_a_bare_string() -> None:
    encoder = st_encoder(FakeModel())
    assert encoder.encode_queries([]).shape == (0, 5)
    with pytest.raises(InputError, match="one string"):
        encoder.encode_documents("text")


def test_a_model_with_a_cache_is_asked_once(tmp_path: Path) -> None:
    model = FakeModel()
    for _ in range(2):
        encoder = st_encoder(model, cache_dir=tmp_path)
        np.testing.assert_array_equal(encoder.encode_queries(["a", "b"]), np.ones((2, 5)))
        np.testing.assert_array_equal(encoder.encode_documents(["a"]), np.full((1, 5), 2))
    assert [(role, texts) for role, texts, _ in model.calls] == [("query", ["a", "b"]), ("document", ["a"])]
    assert encoder.fingerprint == st_encoder(model).fingerprint


@pytest.mark.parametrize(("said", "similarity"), [("dot", "dot"), ("cosine", "cosine"), (None, "cosine")])
def test_an_encoder_says_what_its_model_is_ranked_by(tmp_path: Path, said: str | None, similarity: str) -> None:
    model = FakeModel()
    model.similarity_fn_name = said  # type: ignore[assignment]
    assert st_encoder(model).similarity == similarity
    assert st_encoder(model, cache_dir=tmp_path).similarity == similarity
    assert CachedEncoder(st_encoder(model), tmp_path).similarity == similarity
    assert CachedEncoder(Counting(), tmp_path).similarity == "cosine"


def test_fingerprints_are_equal_for_one_model_and_differ_with_whatever_changes_vectors() -> None:
    assert st_encoder(FakeModel()).fingerprint == st_encoder(FakeModel()).fingerprint
    lower, prompted = FakeModel(), FakeModel()
    lower.lower_case = True
    prompted.prompts["query"] = "other: "
    encoders = [
        st_encoder(FakeModel()),
        st_encoder(FakeModel(seed=1)),
        st_encoder(FakeModel(mode="cls")),
        st_encoder(FakeModel(dtype=torch.float64)),
        st_encoder(FakeModel(length=9)),
        st_encoder(lower),
        st_encoder(prompted),
        st_encoder(FakeModel(), query_prompt="Q: "),
        st_encoder(FakeModel(), document_prompt="Q: "),
    ]
    assert len({encoder.fingerprint for encoder in encoders}) == len(encoders)


def test_a_model_without_weights_cannot_be_told_apart() -> None:
    model = FakeModel()
    del model[0]
    with pytest.raises(InputError, match="torch backend"):
        _ = st_encoder(model).fingerprint


def test_the_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"nudge-integrations\[sentence-transformers\]"):
        SentenceTransformerEncoder("all-MiniLM-L6-v2")


def test_one_model_is_bundled_where_its_package_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bundled_model("sentence-transformers/all-MiniLM-L6-v2")
    assert folder == bundled_model("all-MiniLM-L6-v2")
    assert folder is None or (folder / "model.safetensors").exists()
    assert bundled_model("all-mpnet-base-v2") is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert bundled_model("all-MiniLM-L6-v2") is None


def test_the_module_needs_neither_torch_nor_sentence_transformers_to_be_imported() -> None:
    code = (
        "import sys, nudge_integrations.encoding; sys.exit(bool({'torch', 'sentence_transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
