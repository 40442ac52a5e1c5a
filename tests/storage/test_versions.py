"""Formats of another version: a newer one is refused in its own words, and nobody is told to upgrade in vain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fuzz_formats import FORMATS, Format
from fuzz_mutators import MANIFESTS

from nudge_integrations.errors import ArtifactError, CorruptArtifactError
from nudge_integrations.storage import Log
from nudge_integrations.storage.sealing import seal

VERSIONED = [form for form in FORMATS if form.replaced or form.name == "rollout journal"]


def renumbered(folder: Path, change: Any) -> None:
    """Give the outermost manifest another version, under a checksum that fits."""
    manifest = min((path for name in MANIFESTS for path in folder.rglob(name)), key=lambda path: len(path.parts))
    content = json.loads(manifest.read_bytes())
    del content["sha256"]
    manifest.write_bytes(seal({**content, "version": change(content["version"])}))


@pytest.mark.parametrize("form", VERSIONED, ids=lambda form: form.name)
def test_a_newer_format_asks_for_an_upgrade_and_an_older_one_does_not(form: Format, tmp_path: Path) -> None:
    form.write(tmp_path)
    renumbered(tmp_path, lambda version: version + 1)
    with pytest.raises(ArtifactError, match=r"newer than \d+, .* upgrade nudge-integrations"):
        form.content(tmp_path)
    renumbered(tmp_path, lambda version: 0)
    with pytest.raises(CorruptArtifactError, match="format version 0"):
        form.content(tmp_path)


@pytest.mark.parametrize("version", ["2", None, True, 1.5, -1])
def test_what_is_no_version_is_damage(version: object, tmp_path: Path) -> None:
    form = next(form for form in FORMATS if form.name == "exact index")
    form.write(tmp_path)
    renumbered(tmp_path, lambda _: version)
    with pytest.raises(CorruptArtifactError, match="save it again"):
        form.content(tmp_path)


def test_an_older_format_is_refused_without_asking_for_an_upgrade(tmp_path: Path) -> None:
    form = next(form for form in FORMATS if form.name == "nudge")
    form.write(tmp_path)
    renumbered(tmp_path, lambda _: 1)
    with pytest.raises(ArtifactError, match="older than 2") as caught:
        form.content(tmp_path)
    assert "upgrade" not in str(caught.value)


@pytest.mark.parametrize("version", [2, 10, 100])
def test_a_newer_log_asks_for_an_upgrade_and_is_left_alone(version: int, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    Log(path, "test/log", version=version).append([{"id": 1}])
    before = path.read_bytes()
    older = Log(path, "test/log")
    for work in (older.read, lambda: older.append([{"id": 2}]), lambda: older.compact(lambda records: records)):
        with pytest.raises(ArtifactError, match="upgrade nudge-integrations"):
            work()
    assert path.read_bytes() == before


def test_zeros_that_a_power_cut_left_in_place_of_the_first_line_are_no_log_of_somebody_else(tmp_path: Path) -> None:
    path, log = tmp_path / "log.jsonl", Log(tmp_path / "log.jsonl", "test/log")
    log.append([{"id": 1}])
    whole = path.read_bytes()
    for kept in (0, 10, len(whole) - 1):
        path.write_bytes(whole[:kept] + bytes(len(whole) - kept))
        assert log.read().records == []
        log.append([{"id": 2}])
        assert log.read().records == [{"id": 2}]
