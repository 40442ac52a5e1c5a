"""Safeguards, each taken out: what a test must then notice."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["SABOTAGES", "Sabotage"]


@dataclass(frozen=True)
class Sabotage:
    """One safeguard that is taken out.

    Attributes:
        place: The name that is replaced: module and attribute.
        replacement: Makes what is put there, from what was there.
    """

    place: str
    replacement: Callable[[Any], Any]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Leave the safeguard out for the length of a block."""
        module, _, name = self.place.rpartition(":")
        owner: Any = importlib.import_module(module)
        *outer, name = name.split(".")
        for part in outer:
            owner = getattr(owner, part)
        original = owner.__dict__[name]
        setattr(owner, name, self.replacement(original))
        try:
            yield
        finally:
            setattr(owner, name, original)


def _without_effect(original: Any) -> Any:
    return lambda *arguments, **options: None


@contextmanager
def _in_place(path: Any) -> Iterator[Path]:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    yield Path(path)


def _written_under_its_own_name(original: Any) -> Any:
    def stage(folder: Path, name: str, pieces: Any) -> Any:
        entry = original(folder, name, pieces)
        os.replace(folder / f".{name}.{entry['sha256']}", folder / name)
        return entry

    return stage


def _without_cleaning(original: Any) -> Any:
    def settle(folder: Path, manifest: str, names: Any) -> None:
        with contextlib.ExitStack() as stack:
            unlink = Path.unlink
            stack.callback(setattr, Path, "unlink", unlink)
            Path.unlink = lambda *_, **__: None  # type: ignore[method-assign, assignment]
            original(folder, manifest, names)

    return settle


SABOTAGES = {
    "files are written in place": Sabotage("nudge_integrations.storage.atomic:replacing", lambda _: _in_place),
    "files of a folder are written in place": Sabotage(
        "nudge_integrations.storage.manifest:_stage", _written_under_its_own_name
    ),
    "a save does not settle": Sabotage("nudge_integrations.storage.manifest:_settle", _without_effect),
    "a save does not remove": Sabotage("nudge_integrations.storage.manifest:_settle", _without_cleaning),
}
