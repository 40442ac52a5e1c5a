"""Each safeguard taken out: the tests of kills, power cuts, damage and races must notice, or they test nothing.

``SABOTAGES`` says what is taken out, and this list by which test it is caught, each of which has a twin at least.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_writers import SIZES
from cut_checks import cut_faults
from fuzz_checks import mutant_faults
from fuzz_formats import FORMATS
from kills import CrashChild, every_kill, started
from sabotages import SABOTAGES

TESTS = Path(__file__).resolve().parents[1]
# Sabotage -> the writer by whose kills it is noticed.
KILLED = {
    "files are written in place": "dataset",
    "files of a folder are written in place": "nudge",
    "a save does not settle": "nudge",
    "parts that killed processes left stay": "dataset",
    "staged files of other names stay": "nudge",
    "the marker of a folder goes first": "nudged index",
    "a torn line is appended to": "log, appended",
    "logs are replaced in place": "labels, deleted by source",
    "batches are copied, not moved": "rollout journal, gone on with",
}
# Sabotage -> the writer by whose power cuts it is noticed.
CUT = {
    "files are not flushed": "nudge",
    "folders are not flushed": "nudged index",
    "files that are replaced are not flushed": "checkpoint",
}
# Sabotage -> the format by whose damage it is noticed.
DAMAGED = {
    "files are not hashed": "nudge",
    "manifests are not hashed": "nudge",
    "lines of a log have no checksum": "journal",
    "cached vectors have no checksum": "cache",
    "values of a nudge are not checked": "nudge",
    "a saved index is not checked": "exact index",
    "parts of a saved index need not fit": "nudged index",
    "whatever has the name of a file is opened": "exact index",
    "files of any size are read": "journal",
}
# Sabotage -> the writer by whose races it is noticed.
RACED = {
    "writers do not wait for each other": "nudge",
    "readers do not start again": "nudged index",
    "parts of others are taken for left": "dataset",
}
CACHES = ("processes share a shard",)
LABELS = ("labels are made before others are kept out",)
FEEDBACK = ("nobody waits for a log of feedback",)
CAUGHT_BY = {
    "test_a_kill_at_any_step_leaves_the_old_state_or_the_new_one": KILLED,
    "test_a_cut_leaves_the_old_state_or_the_new_one": CUT,
    "test_damaged_files_are_refused_or_read_rightly": DAMAGED,
    "test_readers_see_whole_states_while_others_overwrite": RACED,
    "test_four_processes_fill_one_cache": dict.fromkeys(CACHES, "cache"),
    "test_processes_label_the_same_queries_while_one_deletes": dict.fromkeys(LABELS, "labels"),
    "test_processes_share_a_log_of_feedback_that_rotates": dict.fromkeys(FEEDBACK, "feedback"),
}


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashChild]:
    with started(tmp_path_factory.mktemp("twins")) as found:
        yield found


@pytest.mark.parametrize("name", KILLED)
def test_kills_notice(child: CrashChild, name: str) -> None:
    kills = [kill for kill in every_kill(child, [KILLED[name]], SIZES[:1]) if not kill.first]
    # Steps differ where the safeguard is out, so those of the whole writer are a first guess, and more follow.
    assert any(child.fault(kill, name) is not None for kill in kills)


@pytest.mark.parametrize("name", CUT)
def test_power_cuts_notice(name: str, tmp_path: Path) -> None:
    with SABOTAGES[name].applied():
        assert cut_faults(CUT[name], False, tmp_path, 150, 0)


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_noticed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    form = next(form for form in FORMATS if form.name == DAMAGED[name])
    with SABOTAGES[name].applied():
        assert mutant_faults(form, tmp_path, 400, 0, seconds=0.5, most=1)


@pytest.mark.parametrize("name", RACED)
def test_races_notice(child: CrashChild, name: str) -> None:
    # A race is lost by chance: some rounds of it, until one is.
    rounds = (child.race(RACED[name], readers=2, writers=2, saves=40, sabotage=name) for _ in range(10))
    assert any(answer["faults"] for answer in rounds)


@pytest.mark.parametrize("name", CACHES)
def test_races_at_a_cache_notice(child: CrashChild, name: str, tmp_path: Path) -> None:
    answer = child.ask("cache_race", folder=str(tmp_path), writers=4, appends=20, sabotage=name)
    assert answer["wrong"] or answer["errors"]


@pytest.mark.parametrize("name", LABELS)
def test_races_at_labels_notice(child: CrashChild, name: str, tmp_path: Path) -> None:
    assert any(_race(child, "label_race", name, tmp_path / str(turn)) for turn in range(40))


@pytest.mark.parametrize("name", FEEDBACK)
def test_races_at_feedback_notice(child: CrashChild, name: str, tmp_path: Path) -> None:
    assert any(_race(child, "feedback_race", name, tmp_path / str(turn)) for turn in range(10))


def _race(child: CrashChild, kind: str, sabotage: str, folder: Path) -> object:
    folder.mkdir()
    return child.ask(kind, folder=str(folder), writers=3, turns=40, sabotage=sabotage)


def test_every_safeguard_is_on_the_list_and_every_test_has_a_twin() -> None:
    assert {name for names in CAUGHT_BY.values() for name in names} == SABOTAGES.keys()
    assert all(CAUGHT_BY.values())
    found = {
        node.name
        for folder in ("crash", "processes", "fuzz")
        for path in (TESTS / folder).glob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    others = {"test_what_a_release_wrote_is_read_by_every_later_one", "test_every_format_has_files_of_a_release"}
    assert found - others - {name for name in found if "thread" in name} == CAUGHT_BY.keys()
