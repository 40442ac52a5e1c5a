"""The nudge artifact: what it checks, how it lies on disk, what it does to vectors and back."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from query_maps import asked, map_alone
from safetensors.numpy import load as load_tensors
from scipy import sparse

from nudge_integrations.artifact import Nudge
from nudge_integrations.encoding import text_hash
from nudge_integrations.errors import ArtifactError, CorruptArtifactError, InputError, MismatchError
from nudge_integrations.feedback import LabelLog
from nudge_integrations.fusion import Bm25, Fusion
from nudge_integrations.selection import select
from nudge_integrations.solver import Candidate, solve, table_of
from nudge_integrations.storage.sealing import seal

FILES = ("nudge.json", "vectors.safetensors", "ids.jsonl")


def unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def random_units(count: int, dimension: int, seed: int = 0) -> NDArray[np.float32]:
    return unit(np.random.default_rng(seed).standard_normal((count, dimension)))


def make(count: int = 3, dimension: int = 4, seed: int = 0, **changes: Any) -> Nudge:
    """Build a nudge whose base vectors are `random_units(count, dimension)` and whose ids are d0, d1, ..."""
    base = random_units(count, dimension)
    fields: dict[str, Any] = {
        "ids": tuple(f"d{row}" for row in range(count)),
        "vectors": unit(base + 0.4 * random_units(count, dimension, seed + 1)),
        "base": base,
        "text_hashes": tuple(text_hash(f"text {row}") for row in range(count)),
        "similarity": "cosine",
        "method": "nudge-n",
        "step": 0.25,
        "temperature": None,
        "metric": "ndcg@10",
        "baseline": 0.5,
        "score": 0.75,
        "unseen_baseline": 0.5,
        "unseen_score": math.nan,
        "status": "improved",
        "reason": "gains 0.25",
        "warnings": ("mind the gap",),
        "protocol": "leave-one-out",
        "queries": 12,
        "encoder": "model-a",
        "dataset_hash": "0" * 64,
        "validation_hash": None,
        "ambiguous_texts": {"f" * 64: ("d0", "x")},
        "versions": {"numpy": "2"},
        "created": "2025-01-01T00:00:00+00:00",
        "curve": np.array([[0.0, 0.5], [0.1, 0.75]]),
    }
    return Nudge(**{**fields, **changes})


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, LabelLog):
        return bool(one.labels == other.labels)
    return bool(one == other) or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nudge_integrations.storage.manifest.os.fsync", lambda _: None)


# -- what it refuses


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ids": ("a", "b", "a")}, "'a' moved twice"),
        ({"ids": ("a", "b"), "text_hashes": ()}, "3 vectors came with 2 ids"),
        ({"text_hashes": ("x",)}, "1 text hashes"),
        ({"similarity": "l2"}, "similarity must be"),
        ({"ids": ("a", "b", ["c"])}, "ids must be a sequence of texts"),
        ({"text_hashes": ("a", "b", None)}, "text_hashes must be a sequence of texts"),
        ({"step": "far"}, "step must be a number"),
        ({"queries": -1}, "queries must be a number of queries"),
        ({"status": "better"}, "status must be"),
        ({"warnings": "mind the gap"}, "warnings must be"),
        ({"candidates": ({"method": "nudge-n"},)}, "candidates must be"),
        ({"ambiguous_texts": {"f": "d0"}}, "ambiguous_texts must be"),
        ({"curve": np.ones(4)}, r"curve has shape \(4,\), expected"),
        ({"vectors": np.full((3, 4), np.nan)}, "'d0' is not finite"),
        ({"vectors": 2 * random_units(3, 4)}, "must have unit length"),
        ({"base": 2 * random_units(3, 4)}, "must have unit length"),
        ({"base": random_units(3, 5)}, "5 dimensions, expected 4"),
        ({"query_map": np.eye(3)}, "query map has 3 dimensions"),
        ({"query_map": np.ones((4, 3))}, "dimensions, expected"),
        ({"shift": np.ones(5)}, "shift has 5 dimensions"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"similarity": "cosine"}, "has the similarity 'dot' and no shift"),
        ({"shift": np.ones(4)}, "has the similarity 'dot' and no shift"),
        ({"base_norm": 0.5}, "longer than base_norm=0.5"),
        ({"base_norm": "long"}, "base_norm must be a number or None"),
    ],
)
def test_a_base_that_ranks_by_inner_product_must_fit_together(changes: dict[str, Any], words: str) -> None:
    make(base_norm=1.0, similarity="dot")
    with pytest.raises(InputError, match=words):
        make(**{"base_norm": 1.0, "similarity": "dot", **changes})


def test_it_cannot_be_changed() -> None:
    vectors = random_units(3, 4, seed=1)
    nudge = make(vectors=vectors)
    vectors[:] = 0
    assert np.linalg.norm(nudge.vectors, axis=1) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="read-only"):
        nudge.vectors[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        nudge.step = 1.0  # type: ignore[misc]


# -- disk


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"temperature": 0.1, "query_map": np.eye(4, dtype=np.float32), "shift": np.full(4, 0.1, np.float32)},
        {"text_hashes": (), "curve": None, "validation_hash": "a" * 64, "warnings": ()},
        {"similarity": "dot", "vectors": 1.5 * random_units(3, 4)},
        {"ids": ("ü", "a\nb", '"\u2028\ud800')},
        {"fusion": Fusion({"bm25": 0.3}, Bm25(language="de").as_dict(), 100, 0.02, 0.004)},
    ],
)
def test_saved_and_loaded_it_is_the_same(tmp_path: Path, changes: dict[str, Any]) -> None:
    nudge = make(**changes)
    nudge.save(tmp_path / "deep" / "out")
    loaded = Nudge.load(tmp_path / "deep" / "out", encoder="model-a")
    for field in dataclasses.fields(nudge):
        assert same(getattr(nudge, field.name), getattr(loaded, field.name)), field.name
    assert loaded.fingerprint == nudge.fingerprint
    assert loaded.base_hashes == nudge.base_hashes
    assert sorted(os.listdir(tmp_path / "deep" / "out")) == sorted(FILES)


def test_what_was_tried_is_saved_and_printed_as_the_solver_prints_it(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    documents, queries = random.standard_normal((2, 40, 8))
    relevance = sparse.csr_array((np.ones(40), (np.arange(40), np.arange(40) % 10)), shape=(40, 40))
    solution = select(documents, queries, relevance)
    ids = [f"d{row}" for row in range(40)]
    given: dict[str, Any] = {"ids": ids, "documents": documents, "texts": ids, "encoder": "model-a"}
    Nudge.from_solution(solution, **given, dataset_hash="0" * 64).save(tmp_path)
    loaded = Nudge.load(tmp_path)
    tried = tuple(Candidate(**candidate) for candidate in loaded.candidates)
    assert len(tried) > 4
    assert tried == solution.candidates
    assert str(loaded).partition("\n")[2] == table_of(solution.candidates)


def test_a_nudge_chosen_on_one_query_is_saved_and_printed(tmp_path: Path) -> None:
    relevance = sparse.csr_array([[1.0, 0.0, 0.0]])
    solution = solve(np.eye(3), np.array([[0.6, 0.8, 0.0]]), relevance)
    assert any(math.isinf(tried.standard_error) for tried in solution.candidates)
    nudge = Nudge.from_solution(
        solution, ids=["a", "b", "c"], documents=np.eye(3), texts=None, encoder="toy", dataset_hash=""
    )
    nudge.save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(FILES)
    loaded = Nudge.load(tmp_path)
    assert str(loaded) == str(nudge)
    assert math.isinf(loaded.candidates[0]["standard_error"])


def test_a_nudge_that_moves_nothing_is_saved_and_loaded(tmp_path: Path) -> None:
    make(0, 4).save(tmp_path)
    loaded = Nudge.load(tmp_path)
    assert (len(loaded), loaded.dimension, loaded.max_norm) == (0, 4, 1.0)
    np.testing.assert_allclose(loaded.apply(["x"], [[3, 0, 0, 4]]), [[0.6, 0, 0, 0.8]])


def test_a_nudge_that_only_maps_queries_is_served_saved_and_told_apart(tmp_path: Path) -> None:
    alone = map_alone(make())
    alone.save(tmp_path)
    loaded = Nudge.load(tmp_path, encoder="model-a")
    queries = 3 * random_units(6, 4, 5)
    for nudge in (alone, loaded, copy.deepcopy(alone)):
        np.testing.assert_allclose(nudge.transform_queries(queries), asked(alone, queries), atol=1e-6)
    base = random_units(2, 4, 7)
    np.testing.assert_allclose(loaded.apply(["d0", "x"], 5 * base), base, atol=1e-6)
    np.testing.assert_allclose(loaded.revert(["d0", "x"], base), base, atol=1e-6)
    assert (len(loaded), "d0" in loaded, loaded.similarity, loaded.max_norm) == (0, False, "cosine", 1.0)
    assert repr(loaded).startswith("Nudge(0 documents moved, queries mapped by 'ridge'")
    nothing = dataclasses.replace(alone, query_map=None)
    assert loaded.fingerprint == alone.fingerprint != nothing.fingerprint
    assert repr(alone.diff(nothing)) == "NudgeDiff(added=0, removed=0, changed=0, same=0, another query map)"


def test_other_tools_can_read_the_files(tmp_path: Path) -> None:
    nudge = make()
    nudge.save(tmp_path)
    content = json.loads((tmp_path / "nudge.json").read_text())
    assert (content["metric"], content["unseen_score"], content["dimension"], content["moved"]) == (
        "ndcg@10",
        None,
        4,
        3,
    )
    lines = [json.loads(line) for line in (tmp_path / "ids.jsonl").read_text().splitlines()]
    assert lines[1] == {"id": "d1", "text_sha256": text_hash("text 1")}
    np.testing.assert_array_equal(
        load_tensors((tmp_path / "vectors.safetensors").read_bytes())["vectors"], nudge.vectors
    )


@pytest.mark.parametrize("name", FILES)
def test_any_changed_byte_is_refused(tmp_path: Path, name: str) -> None:
    make(2, 3).save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        (tmp_path / name).write_bytes(changed)
        with pytest.raises(ArtifactError):
            Nudge.load(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_and_extension_is_refused(tmp_path: Path, name: str) -> None:
    make(2, 3).save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for content in [*(whole[:length] for length in range(len(whole))), whole + b"\n", whole + b"\0"]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorruptArtifactError):
            Nudge.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CorruptArtifactError, match=r"missing|holds no"):
        Nudge.load(tmp_path)


def test_a_blank_more_or_a_key_twice_is_refused(tmp_path: Path) -> None:
    make().save(tmp_path)
    text = (tmp_path / "nudge.json").read_text()
    for changed in (text.replace(": ", ":  ", 1), text.replace('"step"', '"step": 0.25,\n "step"', 1)):
        assert json.loads(changed) == json.loads(text)
        (tmp_path / "nudge.json").write_text(changed)
        with pytest.raises(CorruptArtifactError, match="altered"):
            Nudge.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"version": 3}, ArtifactError, "version 3, newer than 2"),
        ({"format": "something/else"}, ArtifactError, "is a 'something/else'"),
        ({"moved": 7}, CorruptArtifactError, "expected"),
        ({"dimension": 5}, CorruptArtifactError, "expected"),
        ({"similarity": "l2"}, CorruptArtifactError, "similarity must be"),
        ({"queries_": 1}, CorruptArtifactError, "whole nudge"),
        ({"files": {}}, CorruptArtifactError, "not named by the manifest"),
        (
            {"files": {"../beside": {"bytes": 0, "sha256": ""}}},
            CorruptArtifactError,
            "does not name the files beside it",
        ),
        ({"files": None}, CorruptArtifactError, "does not name the files beside it"),
        ({"step": "far"}, CorruptArtifactError, "whole nudge"),
        ({"fusion": {"weights": {"bm25": -1.0}}}, CorruptArtifactError, "whole nudge"),
        ({"step": 10**400}, CorruptArtifactError, "whole nudge"),
        ({"candidates": [{}]}, CorruptArtifactError, "whole nudge"),
        ({"candidates": None}, CorruptArtifactError, "whole nudge"),
        ({"ambiguous_texts": []}, CorruptArtifactError, "whole nudge"),
        ({"metric": {}}, CorruptArtifactError, "metric must be a text"),
    ],
)
def test_a_sealed_manifest_that_makes_no_sense_is_refused(
    tmp_path: Path, change: dict[str, Any], error: type[Exception], words: str
) -> None:
    make().save(tmp_path)
    content = json.loads((tmp_path / "nudge.json").read_text())
    del content["sha256"]
    (tmp_path / "nudge.json").write_bytes(seal({**content, **change}))
    with pytest.raises(error, match=words):
        Nudge.load(tmp_path)


def test_nothing_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifactError, match=r"holds no nudge\.json"):
        Nudge.load(tmp_path / "absent")


def test_saving_leaves_the_neighbours_alone(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    make(3).save(tmp_path)
    make(2).save(tmp_path)
    assert len(Nudge.load(tmp_path)) == 2
    assert sorted(os.listdir(tmp_path)) == sorted([*FILES, "result.json"])


def test_no_byte_of_an_attachment_can_change_unseen(tmp_path: Path) -> None:
    make().save(tmp_path, attachments={"result.json": b"{}", "empty": b""})
    assert len(Nudge.load(tmp_path)) == len(make())
    for name, altered in (("result.json", b"[]"), ("empty", b" ")):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(altered)
        with pytest.raises(CorruptArtifactError, match=name):
            Nudge.load(tmp_path)
        (tmp_path / name).write_bytes(whole)
    (tmp_path / "result.json").unlink()
    with pytest.raises(CorruptArtifactError, match=r"result\.json is missing"):
        Nudge.load(tmp_path)


def test_attachments_go_with_the_nudge_that_they_belong_to(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("somebody's")
    with pytest.raises(ArtifactError, match=r"holds notes\.txt, not written by this package"):
        make().save(tmp_path, attachments={"notes.txt": b"ours"})
    make().save(tmp_path, attachments={"result.json": b"{}"})
    make().save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*FILES, "notes.txt"])
    assert (tmp_path / "notes.txt").read_text() == "somebody's"


@pytest.mark.parametrize(
    "name", [*FILES, "Vectors.safetensors", "labels.jsonl", "Labels.JSONL", "a/b", "../x", "nul\0", ".env", "x" * 300]
)
def test_an_attachment_cannot_take_the_name_of_a_file_of_the_nudge_or_leave_the_folder(
    tmp_path: Path, name: str
) -> None:
    make(3).save(tmp_path / "out")
    with pytest.raises(InputError, match="cannot be the name of"):
        make(2).save(tmp_path / "out", attachments={name: b"theirs"})
    assert len(Nudge.load(tmp_path / "out")) == 3
    assert sorted(os.listdir(tmp_path / "out")) == sorted(FILES)
    assert os.listdir(tmp_path) == ["out"]


def test_an_attachment_is_bytes_under_a_name(tmp_path: Path) -> None:
    for wrong in ({"notes": "text"}, {"notes": None}, ["notes"], "notes"):
        with pytest.raises(InputError, match="attachment"):
            make().save(tmp_path / "out", attachments=wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["ids", "vectors", "nudge", "env", "*"])
def test_an_attachment_whose_name_begins_like_other_files_leaves_them_alone(tmp_path: Path, name: str) -> None:
    theirs = [".env.local", ".ids.jsonl.swp", ".ids.json", ".vectors.bak", ".nudge.json.swp", ".nudge.lock"]
    for other in theirs:
        (tmp_path / other).write_text("the user's")
    for count in (2, 3):
        make(count).save(tmp_path, attachments={name: b"ours"})
        assert len(Nudge.load(tmp_path)) == count
    assert sorted(os.listdir(tmp_path)) == sorted([*FILES, name, *theirs])
    assert {(tmp_path / other).read_text() for other in theirs} == {"the user's"}


def test_files_that_are_no_nudge_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "vectors.safetensors").write_bytes(b"somebody's model")
    with pytest.raises(ArtifactError, match=r"holds vectors\.safetensors, not written by this package"):
        make().save(tmp_path)
    (tmp_path / "nudge.json").write_text("{}")
    with pytest.raises(ArtifactError, match="nothing was overwritten"):
        make().save(tmp_path)
    assert (tmp_path / "vectors.safetensors").read_bytes() == b"somebody's model"
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="a file is in the way"):
        make().save(tmp_path / "file")


def test_a_save_that_dies_anywhere_leaves_the_old_nudge_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make(3, seed=0), make(3, seed=5)
    outcomes = []
    for fatal in range(12):
        folder = tmp_path / str(fatal)
        old.save(folder)
        calls = 0

        def replace(source: Any, target: Any, *, original: Any = os.replace, fatal: int = fatal) -> None:
            nonlocal calls
            calls += 1
            if calls > fatal:
                raise OSError("the power went out")
            original(source, target)

        with monkeypatch.context() as patch:
            patch.setattr("nudge_integrations.storage.manifest.os.replace", replace)
            try:
                new.save(folder)
            except OSError:
                outcomes.append(Nudge.load(folder).fingerprint == new.fingerprint)
                assert Nudge.load(folder).fingerprint in (old.fingerprint, new.fingerprint)
        old.save(folder)
        assert Nudge.load(folder).fingerprint == old.fingerprint
        assert sorted(os.listdir(folder)) == sorted(FILES)
    # stage, stage | commit | settle, settle: the first three deaths keep the old one, the last two the new one
    assert outcomes == [False, False, False, True, True]


def test_a_full_disk_leaves_the_old_nudge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = make(3)
    old.save(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("nudge_integrations.storage.manifest.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            make(2).save(tmp_path)
    assert Nudge.load(tmp_path).fingerprint == old.fingerprint
    assert sorted(os.listdir(tmp_path)) == sorted(FILES)


KEEP_SAVING = """
import os, sys
from nudge_integrations.artifact import Nudge
os.fsync = lambda _: None
folder, stop, *paths = sys.argv[1:]
nudges = [Nudge.load(path) for path in paths]
while not os.path.exists(stop):
    for nudge in nudges:
        nudge.save(folder)
"""


def test_readers_see_old_or_new_while_two_processes_overwrite(tmp_path: Path) -> None:
    nudges = [make(40, 16, seed=seed) for seed in range(4)]
    for seed, nudge in enumerate(nudges):
        nudge.save(tmp_path / str(seed))
    out, stop = tmp_path / "out", tmp_path / "stop"
    nudges[0].save(out)
    writers = [
        subprocess.Popen([sys.executable, "-c", KEEP_SAVING, str(out), str(stop), *(str(tmp_path / s) for s in some)])
        for some in ("01", "23")
    ]
    seen, loads, until = set[str](), 0, time.monotonic() + 60
    try:
        while (len(seen) < 4 or loads < 300) and time.monotonic() < until:
            seen.add(Nudge.load(out).fingerprint)
            loads += 1
    finally:
        stop.touch()
        codes = [writer.wait(60) for writer in writers]
    assert codes == [0, 0]
    assert seen == {nudge.fingerprint for nudge in nudges}
    assert Nudge.load(out).fingerprint in seen


# -- encoder


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    class Encoder:
        fingerprint = "model-b"

    make().save(tmp_path)
    with pytest.raises(MismatchError, match="belongs to the encoder 'model-a', not to 'model-b'"):
        Nudge.load(tmp_path, encoder=Encoder())
    with pytest.raises(MismatchError, match="fit again"):
        make().check_encoder("model-b")


# -- apply, revert, diff


def test_apply_moves_the_labelled_and_keeps_the_direction_of_the_rest() -> None:
    nudge = make(3)
    ids, base = ["x", "d2", "d0", "y"], np.vstack([random_units(2, 4, 9), nudge.base[[2, 0]]])[[0, 2, 3, 1]]
    given = 3 * base
    nudged = nudge.apply(ids, given)
    np.testing.assert_allclose(nudged[[1, 2]], nudge.vectors[[2, 0]])
    np.testing.assert_allclose(nudged[[0, 3]], base[[0, 3]], atol=1e-6)
    assert nudged.dtype == np.float32
    np.testing.assert_array_equal(given, 3 * base)
    np.testing.assert_allclose(nudge.revert(ids, nudged), base, atol=1e-6)
    np.testing.assert_allclose(nudge.revert(ids, base), base, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_half_and_double_precision_base_vectors_are_recognised(dtype: type[np.floating[Any]]) -> None:
    nudge = make(50, 384)
    np.testing.assert_array_equal(nudge.apply(nudge.ids, nudge.base.astype(dtype)), nudge.vectors)


def test_one_byte_per_coordinate_is_recognised() -> None:
    nudge = make(50, 384)
    scale = np.abs(nudge.base).max(axis=1, keepdims=True) / 127
    np.testing.assert_array_equal(nudge.apply(nudge.ids, np.round(nudge.base / scale)), nudge.vectors)


def test_apply_refuses_vectors_that_are_not_the_base_vectors() -> None:
    nudge = make(3)
    with pytest.raises(MismatchError, match="'d0' and 2 more is nudged already; start from base vectors"):
        nudge.apply(nudge.ids, nudge.vectors)
    with pytest.raises(MismatchError, match="'d1' is from another model or of another text"):
        nudge.apply(["x", "d1"], np.vstack([nudge.base[0], random_units(1, 4, 77)]))
    with pytest.raises(MismatchError, match="5 dimensions, this nudge has 4"):
        nudge.apply(["x"], random_units(1, 5))
    with pytest.raises(InputError, match="2 vectors came with 1 ids"):
        nudge.apply(["x"], random_units(2, 4))
    with pytest.raises(InputError, match="'x' is the zero vector"):
        nudge.apply(["x"], np.zeros((1, 4)))
    with pytest.raises(MismatchError, match="not where this nudge put it"):
        nudge.revert(["d0"], random_units(1, 4, 77))


@pytest.mark.parametrize("ids", [[0, 1, 2], ["d0", "d1", None], np.arange(3), "abc"])
def test_ids_that_are_no_strings_are_refused_instead_of_moving_nothing(ids: Any) -> None:
    nudge = make()
    for call in (nudge.apply, nudge.apply_texts, nudge.revert, nudge.edited):
        with pytest.raises(InputError, match=r"ids are strings.*str\(i\) for i"):
            call(ids, nudge.base)


def test_an_edited_document_stays_and_is_listed_while_the_others_move(caplog: pytest.LogCaptureFixture) -> None:
    nudge = make()
    other = random_units(1, 4, seed=9)
    vectors = np.concatenate([nudge.base[:2], 3 * other])
    placed = nudge.apply(["d0", "d1", "d2"], vectors)
    np.testing.assert_allclose(placed, [*nudge.vectors[:2], other[0]], atol=1e-6)
    assert "1 documents changed since the fit and stay where they are: 'd2'" in caplog.text
    assert nudge.edited(["d0", "d1", "d2"], vectors) == ["d2"]
    assert nudge.edited(["d0", "d1", "d2"], nudge.base) == []
    with pytest.raises(MismatchError, match="from another model"):
        nudge.apply(["d0", "d1", "d2"], random_units(3, 4, seed=9))
    with pytest.raises(MismatchError, match="'d2' is nudged already"):
        nudge.apply(["d0", "d1", "d2"], np.concatenate([nudge.base[:2], nudge.vectors[2:]]))


def test_apply_block_by_block_is_apply() -> None:
    nudge = make(4)
    ids, base = [*nudge.ids, "x", "y"], np.vstack([nudge.base, random_units(2, 4, 9)])
    whole = nudge.apply(ids, base)
    blocks = [nudge.apply(ids[start : start + 2], base[start : start + 2]) for start in (0, 2, 4)]
    np.testing.assert_array_equal(np.vstack(blocks), whole)
    assert nudge.apply([], np.empty((0, 4))).shape == (0, 4)


def test_a_shift_moves_the_others_and_is_taken_back() -> None:
    shift = np.array([0.3, -0.2, 0.1, 0.0], np.float32)
    nudge = make(2, shift=shift)
    ids, base = ["d0", "x", "y"], np.vstack([nudge.base[:1], random_units(2, 4, 9)])
    nudged = nudge.apply(ids, base)
    np.testing.assert_allclose(nudged[1:], unit(base[1:] + shift), atol=1e-6)
    np.testing.assert_array_equal(nudged[0], nudge.vectors[0])
    np.testing.assert_allclose(nudge.revert(ids, nudged), base, atol=1e-6)
    with pytest.raises(MismatchError, match="not where this nudge put it"):
        nudge.revert(ids, base)
    with pytest.raises(InputError, match="has no inverse"):
        make(2, shift=np.ones(4)).revert(["x"], random_units(1, 4))


def test_lengths_survive_under_dot() -> None:
    nudge = make(similarity="dot", vectors=1.5 * random_units(3, 4, 3))
    assert nudge.max_norm == pytest.approx(1.5)
    nudged = nudge.apply([*nudge.ids, "x"], np.vstack([nudge.base, random_units(1, 4, 9)]))
    np.testing.assert_allclose(np.linalg.norm(nudged, axis=1), [1.5, 1.5, 1.5, 1.0], rtol=1e-6)
    np.testing.assert_allclose(nudge.revert(nudge.ids, nudged[:3]), nudge.base, atol=1e-6)


def test_documents_are_found_by_id_and_by_text() -> None:
    nudge = make(3)
    assert "d1" in nudge
    assert "x" not in nudge
    np.testing.assert_array_equal(nudge.vector("d1"), nudge.vectors[1])
    assert nudge.by_text_hash[text_hash("text 2")] == 2
    with pytest.raises(InputError, match="'x' did not move"):
        nudge.vector("x")
    edited = nudge.apply_texts(
        [text_hash("text 0"), text_hash("edited")], np.vstack([nudge.base[0], random_units(1, 4)])
    )
    np.testing.assert_array_equal(edited[0], nudge.vectors[0])
    twice = make(3, text_hashes=("t", "u", "t"))
    assert twice.by_text_hash == {"t": 0, "u": 1}


def test_queries_take_the_query_map() -> None:
    queries = 2 * random_units(5, 4, 3)
    np.testing.assert_array_equal(make().transform_queries(queries), queries)
    matrix = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    expected = unit(unit(queries) + unit(queries) @ matrix)
    np.testing.assert_allclose(make(query_map=matrix).transform_queries(queries), expected, atol=1e-6)
    with pytest.raises(MismatchError, match="5 dimensions"):
        make().transform_queries(random_units(1, 5))


def test_diff_says_what_was_added_removed_changed() -> None:
    one = make(3, vectors=np.eye(4)[:3])
    turned = np.array([[1, 0, 0, 0], [0, math.cos(1e-4), math.sin(1e-4), 0], [0, 0, 0, 1]])
    other = make(3, ids=("d0", "d1", "d9"), vectors=turned)
    diff = one.diff(other)
    assert (diff.added, diff.removed, diff.same) == (("d9",), ("d2",), ("d0",))
    assert diff.changed == {"d1": pytest.approx(1e-4, rel=1e-3)}
    assert repr(diff) == "NudgeDiff(added=1, removed=1, changed=1, same=1)"
    longer = make(3, vectors=2 * np.eye(4)[:3], similarity="dot").diff(one)
    assert longer.changed == {"d0": 0.0, "d1": 0.0, "d2": 0.0}
    assert (diff.shift, diff.query_map) == (False, False)
    around = make(3, shift=np.full(4, 0.1), query_map=np.eye(4))
    differs: list[dict[str, Any]] = [{"shift": np.full(4, 0.2)}, {"query_map": 2 * np.eye(4)}]
    differs += [{"shift": None, "query_map": None}, {}]
    found = [around.diff(dataclasses.replace(around, **changes)) for changes in differs]
    assert [(d.shift, d.query_map) for d in found] == [(True, False), (False, True), (True, True), (False, False)]
    with pytest.raises(MismatchError, match="model-b"):
        one.diff(make(encoder="model-b"))


def test_diff_and_repr_tell_other_signals() -> None:
    one = make(fusion=Fusion({"bm25": 0.3}, Bm25().as_dict(), 100, 0.02, 0.004))
    other = dataclasses.replace(one, fusion=Fusion({"bm25": 0.5}, Bm25().as_dict(), 100, 0.02, 0.004))
    assert [one.diff(nudge).fusion for nudge in (one, other, make())] == [False, True, True]
    assert repr(one.diff(make())).endswith("same=3, other signals)")
    assert "dense + 0.3 bm25" in repr(one)


@pytest.mark.parametrize("shift", [None, np.full(4, 0.1, np.float32)])
def test_diff_gives_the_vectors_to_write(shift: NDArray[np.float32] | None) -> None:
    base = random_units(4, 4)
    first = make(shift=shift)
    other = make(
        ids=("d1", "d2", "d3"),
        base=base[1:],
        vectors=np.concatenate([first.vectors[1:2], random_units(2, 4, seed=5)]),
        shift=shift,
    )
    ids = ["d0", "d1", "d2", "d3"]
    difference = first.diff(other)
    assert difference.ids == ("d3", "d2", "d0")
    live = dict(zip(ids, first.apply(ids, base), strict=True))
    live.update(zip(difference.ids, difference.vectors, strict=True))
    np.testing.assert_allclose([live[name] for name in ids], other.apply(ids, base), atol=1e-6)
    assert first.diff(first).vectors.shape == (0, 4)


def test_the_fingerprint_follows_what_is_served() -> None:
    nudge = make(3)
    assert make(3, created="later", versions={}, reason="").fingerprint == nudge.fingerprint
    others: list[dict[str, Any]] = [
        {"vectors": make(3, seed=1).vectors},
        {"ids": ("d0", "d1", "e")},
        {"encoder": "b"},
        {"similarity": "dot"},
        {"shift": np.zeros(4)},
        {"query_map": np.zeros((4, 4))},
        {"text_hashes": ()},
    ]
    assert len({nudge.fingerprint, *(make(3, **changes).fingerprint for changes in others)}) == len(others) + 1


def test_its_repr_says_what_it_is_worth() -> None:
    assert repr(make()) == (
        "Nudge(3 documents moved by 'nudge-n', step=0.25, similarity='cosine', "
        "ndcg@10 0.5000 -> 0.7500 over 12 queries, improved)"
    )


def test_a_nudge_can_be_copied_whatever_is_cached_on_it() -> None:
    nudge = make()
    assert nudge.by_id
    assert nudge.by_text_hash  # cached from here on
    again = copy.deepcopy(nudge)
    assert again.fingerprint == nudge.fingerprint
    assert dict(again.by_id) == dict(nudge.by_id)


def test_id_that_appears_twice_among_many_is_found_without_comparing_all_with_all() -> None:
    ids = [f"d{number}" for number in range(60_000)]
    with pytest.raises(InputError, match="'d59999' moved twice"):
        make(60_001, ids=(*ids, ids[-1]))
