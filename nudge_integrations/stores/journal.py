"""The journal of a rollout: a folder that anyone can list, from which it can be finished or undone at any time.

rollout-0001/
plan.json               what is changed, in which store; the sha256 of everything else that is here from the start
canary.safetensors      queries to run afterwards, if there are any
todo/000000.safetensors rows to change: ids, what they hold, their base vectors, their targets
done/                   batches go here once the store has been read back
undone/                 and here once they are rolled back
echo/                   what a store made of rows that it did not keep as they were given, if it does such a thing
events.jsonl            what happened, a line each: state, rows that were left out
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from nudge_integrations.errors import ArtifactError, CorruptArtifactError, InputError
from nudge_integrations.storage import (
    Log,
    is_part,
    load_files,
    make_folder,
    move_durably,
    read_regular,
    save_files,
    write_atomically,
)
from nudge_integrations.stores.canary import Canary, Prediction
from nudge_integrations.stores.plan import RolloutPlan
from nudge_integrations.stores.store import Floats

__all__ = ["RolloutJournal", "RowBatch", "check_store", "journals_folder", "latest_journal", "remove_unfinished"]

_FORMAT, _VERSION = "nudge-integrations/rollout", 1
_FIGURES = ("before", "after", "tolerance", "recall")
_FOLDERS = ("todo", "done", "undone")
_NAME = re.compile(r"rollout-([0-9]+)")
# What a folder may hold before plan.json is there, which comes last.
_BEFORE_THE_PLAN = re.compile(r"todo(/[0-9]{6,}\.safetensors)?|done|undone|\.canary\.safetensors\.[0-9a-f]{64}")
_BATCH = re.compile(r"[0-9]{6,}\.safetensors")
_LARGEST_BATCH = 1 << 32
# What parsing raises where the content is not what was written, though its hash fits.
_UNREADABLE = (SafetensorError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


@dataclass(frozen=True, eq=False)
class RowBatch:
    """Rows that are changed together.

    Attributes:
        name: Its file's name.
        ids: r ids.
        held: (r, d) what the store held when the rollout was planned.
        base: (r, d) base vectors.
        target: (r, d) where they go.
    """

    name: str
    ids: tuple[str, ...]
    held: Floats
    base: Floats
    target: Floats

    def to_bytes(self) -> bytes:
        """Write it as safetensors; what the store held is left out where it is the base."""
        arrays = {"base": np.ascontiguousarray(self.base), "target": np.ascontiguousarray(self.target)}
        arrays |= {} if self.held is self.base else {"held": np.ascontiguousarray(self.held)}
        return save(arrays, metadata={"ids": json.dumps(self.ids)})


class RolloutJournal:
    """One rollout on disk; see the module.

    Args:
        folder: A folder that `create` made.

    Raises:
        CorruptArtifactError: If a file is missing or altered by as little as one byte.
        ArtifactError: If it is no journal, or one of a newer version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan, files = load_files(folder, "plan.json", (), format_name=_FORMAT, version=_VERSION)
        try:
            _check(self.plan)
            predicted = self.plan["prediction"]
            self.canary = None if predicted is None else Canary.from_bytes(bytes(files["canary.safetensors"]))
            self.prediction = None if predicted is None else Prediction(**predicted)
            if predicted is not None and not all(math.isfinite(predicted[name]) for name in _FIGURES):
                raise ValueError("the prediction is no figure")
        except _UNREADABLE as error:
            raise CorruptArtifactError(f"{folder} does not hold a whole journal ({error!r}); restore it") from error
        self._log = Log(folder / "events.jsonl", "nudge-integrations/rollout-events")

    @classmethod
    def create(cls, folder: Path, plan: RolloutPlan, batch_rows: int) -> RolloutJournal:
        """Write everything that is needed to apply a plan and to undo it; the store is not touched.

        Raises:
            InputError: If there is something in the folder that is no unfinished journal.
            OSError: If the disk refuses; the folder is no journal then.
        """
        if folder.exists() and any(entry.name not in _FOLDERS for entry in folder.iterdir()):
            raise InputError(f"{folder} holds other files; give another folder for the journal")
        for name in _FOLDERS:
            make_folder(folder / name)
        hashes = {}
        for number, start in enumerate(range(0, len(plan.ids), batch_rows)):
            part, name = slice(start, start + batch_rows), f"{number:06d}.safetensors"
            held, base = plan.held[part], plan.base[part]
            batch = RowBatch(name, plan.ids[part], base if plan.held is plan.base else held, base, plan.target[part])
            data = batch.to_bytes()
            hashes[name] = hashlib.sha256(data).hexdigest()
            write_atomically(folder / "todo" / name, [data])
        predicted = plan.prediction is not None and plan.canary is not None
        canary = {"canary.safetensors": [plan.canary.to_bytes()]} if predicted and plan.canary is not None else {}
        content = {
            **{"format": _FORMAT, "version": _VERSION, "store": plan.store.fingerprint},
            **{"location": plan.store.location, "kind": plan.store.kind, "rows": len(plan.ids), "nudge": plan.nudge},
            "batches": hashes,
            "prediction": asdict(plan.prediction) if plan.prediction is not None and predicted else None,
        }
        # Last: a folder without it was never a journal, and no row was changed.
        save_files(folder, "plan.json", content, canary)
        return cls(folder)

    @property
    def rows(self) -> int:
        """How many rows it is about."""
        return int(self.plan["rows"])

    @property
    def state(self) -> str:
        """The last event: ``"planned"``, ``"applying"``, ``"applied"``, ``"rolling back"`` or ``"rolled back"``."""
        states = [event["state"] for event in self.events() if "state" in event]
        return states[-1] if states else "planned"

    def events(self) -> list[dict[str, Any]]:
        """Return everything that happened, oldest first."""
        events = self._log.read().records
        for event in events:
            if not isinstance(event.get("state", ""), str) or not isinstance(event.get("skipped", {}), dict):
                raise CorruptArtifactError(f"{self._log.path} does not hold the events of a rollout; restore it")
        return events

    def note(self, **event: Any) -> None:
        """Put down what happens; it is on disk when this returns."""
        self._log.append([event])

    def skipped(self, state: str) -> dict[str, str]:
        """Return id -> reason of rows that were left out while the rollout was in a state, the last time it was."""
        found: dict[str, str] = {}
        for event in self.events():
            found |= event["skipped"] if event.get("during") == state else {}
        return found

    def names(self, *folders: str) -> list[str]:
        """Return the names of the batches in some of the folders."""
        return sorted(path.name for name in folders for path in (self.folder / name).glob("*.safetensors"))

    def counts(self) -> Mapping[str, int]:
        """Return how many batches are in each folder."""
        return {name: len(self.names(name)) for name in _FOLDERS}

    def batches(self) -> Iterator[RowBatch]:
        """Read all batches."""
        return map(self.read, self.plan["batches"])

    def read(self, name: str) -> RowBatch:
        """Read one batch, wherever it is.

        Raises:
            CorruptArtifactError: If it is missing or altered.
        """
        path = self._path(name)
        try:
            data = read_regular(path, most=_LARGEST_BATCH)
        except OSError as error:
            if self._path(name) != path:  # whoever applies the plan moved it meanwhile
                return self.read(name)
            raise CorruptArtifactError(f"{path} cannot be read as a batch ({error}); restore the file") from error
        if hashlib.sha256(data).hexdigest() != self.plan["batches"].get(name):
            raise CorruptArtifactError(f"{path} was altered: its sha256 is not the one in plan.json; restore the file")
        try:
            return _batch(name, data)
        except _UNREADABLE as error:
            raise CorruptArtifactError(f"{path} does not hold a whole batch ({error!r}); restore the file") from error

    def keep_echo(self, name: str, rows: Floats) -> None:
        """Put down what a store made of the (r, d) rows of a batch that it was given; NaN where nothing is known."""
        make_folder(self.folder / "echo")
        write_atomically(self.folder / "echo" / name, [save({"echo": np.ascontiguousarray(rows)})])

    def echo(self, name: str) -> Floats | None:
        """Return what `keep_echo` put down; None where the store keeps what it is given."""
        path = self.folder / "echo" / name
        if not path.exists():
            return None
        try:
            rows: Floats = load(read_regular(path, most=_LARGEST_BATCH))["echo"]
        except (OSError, *_UNREADABLE) as error:
            raise CorruptArtifactError(f"{path} cannot be read as what a store kept ({error!r}); restore it") from error
        return rows

    def move(self, name: str, folder: str) -> None:
        """Put a batch into another folder."""
        path = self._path(name)
        if path.parent.name != folder:
            move_durably(path, self.folder / folder / name)

    def _path(self, name: str) -> Path:
        for folder in _FOLDERS:
            if (path := self.folder / folder / name).exists():
                return path
        raise CorruptArtifactError(f"batch {name} is in none of the folders of {self.folder}; restore the file")


def journals_folder() -> Path:
    """Return where journals are kept that were given no folder: the same whatever the working directory is.

    ``$NUDGE_JOURNALS``, else ``nudge-integrations/journals`` in the user's folder for what programs must remember:
    ``$XDG_STATE_HOME`` or ``~/.local/state``, on Windows ``%LOCALAPPDATA%``.
    """
    if given := os.environ.get("NUDGE_JOURNALS"):
        return Path(given).expanduser()
    state = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".local" / "state"
    return Path(state) / "nudge-integrations" / "journals"


def latest_journal(root: Path) -> tuple[RolloutJournal | None, Path]:
    """Return the newest journal in a folder, if there is one, and the path of the next one.

    A journal that was never finished, so that no row was changed, does not count.
    """
    numbered = _numbered(root)
    whole = [path for _, path in numbered if (path / "plan.json").exists()]
    number = numbered[-1][0] + 1 if numbered else 1
    return (RolloutJournal(whole[-1]) if whole else None), root / f"rollout-{number:04d}"


def remove_unfinished(root: Path) -> None:
    """Remove journals that were never finished, as far as they hold nothing else; the caller has claimed the folder."""
    for _, path in _numbered(root):
        held = {one.relative_to(path).as_posix() for one in path.rglob("*") if not is_part(one.name)}
        if all(map(_BEFORE_THE_PLAN.fullmatch, held)):
            shutil.rmtree(path)


def _numbered(root: Path) -> list[tuple[int, Path]]:
    """Return the folders that are named as journals are, with their numbers, ascending."""
    named = ((_NAME.fullmatch(path.name), path) for path in root.glob("rollout-*") if path.is_dir())
    return sorted((int(match[1]), path) for match, path in named if match)


def _check(plan: Mapping[str, Any]) -> None:
    """Raise ValueError or KeyError where a plan cannot be one."""
    texts = [plan[name] for name in ("store", "location", "kind", "nudge")]
    if not all(isinstance(value, str) for value in (*texts, *plan["batches"], *plan["batches"].values())):
        raise ValueError("the plan does not name a store, a nudge and batches")
    if not all(map(_BATCH.fullmatch, plan["batches"])) or not isinstance(plan["rows"], int):
        raise ValueError("the plan does not name batches beside it, and how many rows they have")


def _batch(name: str, data: bytes) -> RowBatch:
    arrays = load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    ids = json.loads(header["__metadata__"]["ids"])
    batch = RowBatch(name, tuple(ids), arrays.get("held", arrays["base"]), arrays["base"], arrays["target"])
    shapes = {array.shape for array in (batch.held, batch.base, batch.target)}
    if not all(isinstance(one, str) for one in ids) or len(shapes) > 1 or min(shapes)[:1] != (len(ids),):
        raise ValueError(f"{len(ids)} ids for arrays of shape {shapes}")
    if len(set(ids)) < len(ids) or not all(np.isfinite(rows).all() for rows in (batch.base, batch.target)):
        raise ValueError("an id comes twice, or a vector is not finite")
    return batch


def check_store(journal: RolloutJournal, fingerprint: str, location: str) -> None:
    """Refuse a journal of another store.

    Raises:
        ArtifactError: Says which it is of.
    """
    if journal.plan["store"] != fingerprint:
        raise ArtifactError(
            f"the journal {journal.folder} is of {journal.plan['location']}, this store is {location}; open that one"
        )
