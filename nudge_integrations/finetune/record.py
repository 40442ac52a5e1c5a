"""The record of a run in its folder: what it trains on, with which settings, and what came of it. JSON alone.

It lies under a checksum of itself: with another pair in it, resuming would make another model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nudge_integrations.errors import CorruptArtifactError, MismatchError
from nudge_integrations.finetune.pairs import TrainingPair
from nudge_integrations.storage import read_regular, write_atomically
from nudge_integrations.storage.sealing import seal, unseal

__all__ = ["RunRecord"]

FILE = "finetune.json"
VERSION = 1
_LARGEST = 1 << 30  # bytes; a record names every pair that is trained on


@dataclass(frozen=True)
class RunRecord:
    """The record that a run is resumed from, beside the weights in its checkpoints.

    Attributes:
        settings: Everything that decides the result: model, data and options.
        pairs: What is trained on.
        baseline: nDCG@10 on the validation set before training; None without one.
        score: The same of the checkpoint that was taken, before adapters were merged into it.
        fingerprint: The fingerprint of that encoder; None until the run has finished.
    """

    settings: Mapping[str, Any]
    pairs: tuple[TrainingPair, ...]
    baseline: float | None
    score: float | None = None
    fingerprint: str | None = None

    def finished(self, score: float | None, fingerprint: str) -> RunRecord:
        """Return the record with what came of the run."""
        return replace(self, score=score, fingerprint=fingerprint)

    def save(self, folder: Path) -> None:
        """Write the record; a reader sees the old one or the new one."""
        write_atomically(folder / FILE, [seal({"version": VERSION, **asdict(self)})])

    @staticmethod
    def exists(folder: Path) -> bool:
        """Tell whether a folder holds a record."""
        return (folder / FILE).exists()

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> RunRecord | None:
        """Read the record of a run with these settings; None where the folder has none.

        Raises:
            CorruptArtifactError: If the record cannot be read.
            MismatchError: If it is of a run with other settings.
        """
        path = folder / FILE
        if not cls.exists(folder):
            return None
        try:
            content = unseal(read_regular(path, most=_LARGEST), path)
            version = content.pop("version")
            pairs = tuple(TrainingPair(p["query"], p["document"], tuple(p["negatives"])) for p in content.pop("pairs"))
            record = cls(pairs=pairs, **{**content, "settings": dict(content["settings"])})
        except (CorruptArtifactError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptArtifactError(
                f"{path} is no record of a run ({error}); start again in another folder"
            ) from error
        if version != VERSION:
            raise MismatchError(f"{path} has version {version!r}, this package reads {VERSION}")
        differ = [name for name, value in settings.items() if record.settings.get(name) != value]
        if differ:
            raise MismatchError(
                f"the run in {folder} was started with another {' and another '.join(differ)}: resume it with what it "
                "was started with, or start again in another folder"
            )
        return record
