"""A nudge in a folder: saved and loaded whole, with its labels beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nudge_integrations.artifact import format as artifact_format
from nudge_integrations.artifact.record import HasFingerprint, NudgeRecord, fingerprint_of
from nudge_integrations.errors import CorruptArtifactError, InputError, MismatchError
from nudge_integrations.feedback import LabelLog

if TYPE_CHECKING:
    from nudge_integrations.storage import Buffer

__all__ = ["LABELS", "SavedNudge"]

LABELS = "labels.jsonl"
"""The file of the labels in a nudge's folder."""


class SavedNudge(NudgeRecord):
    """A nudge's record that can be written to a folder and read from one."""

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        encoder: str | HasFingerprint | None = None,
        tokenizer: Callable[[str], Sequence[str]] | None = None,
    ) -> Self:
        """Read a saved nudge; while another process replaces it, the old one or the new one.

        Args:
            path: Its folder.
            encoder: The encoder that it will be used with, or its fingerprint; None does not check.
            tokenizer: The tokenizer of its BM25, where that is one of your own, which is not saved.

        Raises:
            InputError: If a tokenizer is given and its BM25 has none of your own.
            CorruptArtifactError: If a file is missing, truncated or altered by as little as one byte.
            MismatchError: If it belongs to another encoder.
            ArtifactError: If the folder holds something else, or a newer format.
        """
        nudge, _ = cls._read(path)
        if encoder is not None:
            nudge.check_encoder(encoder)
        if tokenizer is None:
            return nudge
        fusion = nudge.fusion and replace(nudge.fusion, tokenizer=tokenizer)
        if fusion is None or fusion.bm25() is None:
            raise InputError(f"{path} weighs no BM25, so that it needs no tokenizer: leave tokenizer= out")
        return replace(nudge, fusion=fusion)

    @classmethod
    def load_with_files(cls, path: str | os.PathLike[str]) -> tuple[Self, dict[str, bytes]]:
        """Read a saved nudge, and file name -> content of every file of the same save: its own, and the attachments.

        Opening a file by its name instead may give that of another save, if one came between or was interrupted.

        Raises:
            ArtifactError: As `load`.
        """
        nudge, files = cls._read(path)
        return nudge, {name: bytes(content) for name, content in files.items()}

    @classmethod
    def _read(cls, path: str | os.PathLike[str]) -> tuple[Self, dict[str, Buffer]]:
        values, files = artifact_format.read(path)
        try:
            return cls(**values, labels=LabelLog(Path(path) / LABELS)), files
        except (InputError, TypeError) as error:
            raise CorruptArtifactError(f"{path} does not hold a whole nudge ({error}); save it again") from error

    def save(
        self, path: str | os.PathLike[str], *, attachments: Mapping[str, bytes] | None = None, labels: bool = True
    ) -> None:
        """Write ``nudge.json``, ``vectors.safetensors``, ``ids.jsonl`` and ``labels.jsonl`` in place of what is there.

        Readers see the old one or the new one at any moment, also after a crash. Other files in the folder stay, and
        so do labels that came to the folder since this nudge was loaded from it, or that no fit has used yet.

        Args:
            path: A folder; created if absent.
            attachments: File name -> bytes to keep beside it; `load` refuses the folder if one of them was altered, and
                `load_with_files` returns them.
            labels: Whether to keep the labels, which hold the texts of queries; a nudge without cannot be refitted.

        Raises:
            InputError: If an attachment cannot have its name, one of the nudge's own or no plain file name, or is no
                bytes; nothing was written then.
            ArtifactError: If files of those names are there that are no nudge, or the path is a file.
            OSError: If the disk refuses; a nudge that was there before is still whole.
        """
        attached = _checked_attachments(attachments or {})
        log = Path(path) / LABELS
        # The labels first where there are some already: a crash in between then loses none, and the old nudge knows
        # those that it was fitted to.
        if first := labels and log.exists():
            self.labels.save(log)
        artifact_format.write(path, self._fields(), attached)
        if labels and not first:
            self.labels.save(log)

    def with_labels(self, labels: LabelLog) -> Self:
        """Return the same nudge with another log of labels."""
        return replace(self, labels=labels)

    def check_encoder(self, encoder: str | HasFingerprint) -> None:
        """Refuse any encoder but the one that the vectors were made with.

        Raises:
            MismatchError: If the fingerprints differ.
        """
        if (given := fingerprint_of(encoder)) != self.encoder:
            raise MismatchError(
                f"this nudge belongs to the encoder {self.encoder!r}, not to {given!r}: "
                "its vectors mean nothing to another model; fit again with this one"
            )

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _checked_attachments(attachments: Mapping[str, bytes]) -> Mapping[str, bytes]:
    if not isinstance(attachments, Mapping):
        raise InputError(f"attachments must be file name -> bytes; got {type(attachments).__name__}")
    for name, content in attachments.items():
        if isinstance(name, str) and name.casefold() == LABELS:
            raise InputError(f"{name!r} cannot be the name of an attachment: a nudge has a file of that name")
        if not isinstance(content, bytes | bytearray | memoryview):
            raise InputError(f"attachment {name!r} must be bytes; got {type(content).__name__}")
    return attachments
