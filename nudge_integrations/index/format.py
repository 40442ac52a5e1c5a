"""How an exact index lies on disk: ``index.json`` names and hashes the rest (see `storage.manifest`).

``vectors.npy`` holds the (n, d) float32 vectors, which a load maps into memory instead of reading; ``ids.json`` and
``metadata.json`` each hold one array in the order of the rows.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nudge_integrations.corpus import row_lengths
from nudge_integrations.errors import CorruptArtifactError, InputError
from nudge_integrations.storage import Buffer, load_files, save_files

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SavedIndex", "read", "write"]

_FORMAT = "nudge-integrations/exact-index"
_VERSION = 1
_FILES = ("vectors.npy", "ids.json", "metadata.json")


@dataclass(frozen=True, eq=False)
class SavedIndex:
    """A saved index. ``vectors`` are (n, d) float32; ``largest_norm`` bounds their lengths."""

    similarity: Literal["cosine", "dot"]
    ids: list[str]
    metadata: list[Mapping[str, Any]]
    vectors: NDArray[np.float32]
    largest_norm: float


def write(path: str | os.PathLike[str], saved: SavedIndex) -> None:
    """Save an index to a folder, all at once.

    Raises:
        InputError: If metadata would not come back as it is: no JSON, tuples, keys that are no strings; names the id.
        ArtifactError: If something that is no index is in the way.
    """
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "similarity": saved.similarity,
        "count": len(saved.ids),
        "dimension": int(saved.vectors.shape[1]),
        "largest_norm": saved.largest_norm,
    }
    files: dict[str, Iterable[bytes | memoryview]] = {
        "vectors.npy": [_npy_header(saved.vectors.shape), _bytes_of(saved.vectors)],
        "ids.json": [json.dumps(saved.ids).encode("ascii")],
        "metadata.json": [_metadata_json(saved.ids, saved.metadata)],
    }
    save_files(path, "index.json", content, files)


def read(path: str | os.PathLike[str], *, verify: bool) -> SavedIndex:
    """Read a saved index; without ``verify`` large vectors are mapped from the disk.

    Raises:
        CorruptArtifactError: If a file is missing, truncated or altered, or what they hold does not fit together.
        ArtifactError: If it is of another format or a newer version.
    """
    content, files = load_files(path, "index.json", _FILES, format_name=_FORMAT, version=_VERSION, verify=verify)
    try:
        shape = (int(content["count"]), int(content["dimension"]))
        ids, metadata = json.loads(bytes(files["ids.json"])), json.loads(bytes(files["metadata.json"]))
        vectors = _vectors_of(files["vectors.npy"], shape)
        saved = SavedIndex(content["similarity"], ids, metadata, vectors, float(content["largest_norm"]))
        _check(saved, lengths=verify)
        return saved
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CorruptArtifactError(f"{path} does not hold a whole index ({error}); save it again") from error


def _check(saved: SavedIndex, *, lengths: bool) -> None:
    """Raise ValueError where what was saved cannot be an index; every vector is read where lengths are checked too."""
    count = len(saved.vectors)
    if not isinstance(saved.ids, list) or not all(isinstance(name, str) for name in saved.ids):
        raise ValueError("the ids are no list of texts")
    if not isinstance(saved.metadata, list) or not all(isinstance(entry, dict) for entry in saved.metadata):
        raise ValueError("the metadata are no list of objects")
    if len(set(saved.ids)) != count or len(saved.ids) != count or len(saved.metadata) != count:
        raise ValueError(f"{len(set(saved.ids))} distinct ids and {len(saved.metadata)} metadata for {count} vectors")
    if saved.similarity not in ("cosine", "dot") or not 0 <= saved.largest_norm < np.inf:
        raise ValueError(f"the similarity is {saved.similarity!r}, the largest length {saved.largest_norm!r}")
    if lengths and (row_lengths(saved.vectors, "saved vectors") > saved.largest_norm * (1 + 1e-3)).any():
        raise ValueError(f"vectors are longer than {saved.largest_norm:.6g}")


def _npy_header(shape: Sequence[int]) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": tuple(shape)})
    return header.getvalue()


def _bytes_of(vectors: NDArray[np.float32]) -> memoryview:
    """View (n, d) vectors as bytes without a copy; n may be 0, which `memoryview.cast` refuses."""
    return np.ascontiguousarray(vectors, dtype="<f4").reshape(-1).view(np.uint8).data


def _vectors_of(data: Buffer, shape: tuple[int, int]) -> NDArray[np.float32]:
    header = _npy_header(shape)
    if data[: len(header)] != header:
        raise ValueError("vectors.npy has another type or shape")
    return np.frombuffer(data, dtype="<f4", offset=len(header)).reshape(shape)


def _metadata_json(ids: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> bytes:
    pieces = []
    for document_id, entry in zip(ids, metadata, strict=True):
        try:
            pieces.append(json.dumps(entry, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"the metadata of {document_id!r} cannot be saved as JSON: {error}") from error
        if json.loads(pieces[-1]) != entry:
            raise InputError(
                f"the metadata of {document_id!r} would come back as another type, since JSON has no tuples and texts "
                f"alone as keys: give lists and texts instead; got {dict(entry)!r:.200}"
            )
    return f"[{', '.join(pieces)}]".encode("ascii")
