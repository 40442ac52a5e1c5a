"""How a nudge lies on disk: what goes into ``nudge.json``, ``vectors.safetensors`` and ``ids.jsonl``.

``nudge.json`` holds every scalar and the hashes of the other two (see `nudge_integrations.storage.manifest`),
``vectors.safetensors`` the arrays, ``ids.jsonl`` one object a moved document, in the order of the rows:
``{"id": ..., "text_sha256": ... or null}``. The labels lie beside, in a log with checksums of its own.
JSON and raw numbers only: nothing that is read can run code. Files attached to it lie beside, under the same hashes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from nudge_integrations.artifact.values import FIGURES_OF_A_CANDIDATE
from nudge_integrations.errors import CorruptArtifactError, InputError
from nudge_integrations.fusion import Fusion
from nudge_integrations.storage import Buffer, load_files, save_files

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["content_fingerprint", "current_versions", "read", "thin_curve", "write"]

_FORMAT = "nudge-integrations/nudge"
_VERSION = 2
_TENSORS = {
    "vectors": np.float32,
    "base": np.float32,
    "query_map": np.float32,
    "shift": np.float32,
    "curve": np.float64,
}
_APART = ("ids", "text_hashes", "labels")
# JSON has neither NaN nor infinity: null stands for a figure that was not measured, or could not be.
_FIGURES = ("step", "baseline", "score", "unseen_baseline", "unseen_score")
_MOST_CURVE_POINTS = 20_000


def write(path: str | os.PathLike[str], fields: Mapping[str, Any], attachments: Mapping[str, bytes]) -> None:
    """Save the fields of a nudge, and what is kept beside it, to a folder, all at once.

    Raises:
        InputError: If an attachment cannot have its name.
        ArtifactError: If something that is no nudge is in the way.
    """
    tensors = {name: fields[name] for name in _TENSORS if fields[name] is not None}
    content = {name: value for name, value in fields.items() if name not in {*_TENSORS, *_APART}}
    for name in _FIGURES:
        content[name] = _number_or_none(content[name])
    content["candidates"] = [
        {**tried, **{name: _number_or_none(tried[name]) for name in FIGURES_OF_A_CANDIDATE}}
        for tried in content["candidates"]
    ]
    content["fusion"] = None if fields["fusion"] is None else fields["fusion"].as_dict()
    content.update(
        format=_FORMAT, version=_VERSION, dimension=int(fields["vectors"].shape[1]), moved=len(fields["ids"])
    )
    hashes = fields["text_hashes"] or [None] * len(fields["ids"])
    lines = (json.dumps({"id": i, "text_sha256": digest}) for i, digest in zip(fields["ids"], hashes, strict=True))
    files: dict[str, list[bytes]] = {
        "vectors.safetensors": [save_tensors(tensors)],
        "ids.jsonl": ["".join(f"{line}\n" for line in lines).encode("ascii")],
    }
    if taken := files.keys() & attachments.keys():
        raise InputError(f"{min(taken)!r} cannot be the name of an attachment: a nudge has a file of that name")
    files.update({name: [attached] for name, attached in attachments.items()})
    save_files(path, "nudge.json", content, files)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Buffer]]:
    """Return the fields of a saved nudge, and file name -> content of all files of the same save, attachments included.

    Raises:
        CorruptArtifactError: If a file is missing, truncated or altered, or what it holds does not fit together.
        ArtifactError: If it is of another format or a newer version.
    """
    names = ("vectors.safetensors", "ids.jsonl")
    content, files = load_files(path, "nudge.json", names, format_name=_FORMAT, version=_VERSION)
    try:
        tensors = load_tensors(bytes(files["vectors.safetensors"]))
        lines = [json.loads(line) for line in bytes(files["ids.jsonl"]).splitlines()]
        return _fields(content, tensors, lines), files
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CorruptArtifactError(f"{path} does not hold a whole nudge ({error}); save it again") from error


def _fields(content: dict[str, Any], tensors: dict[str, NDArray[Any]], lines: list[dict[str, Any]]) -> dict[str, Any]:
    for name, tensor in tensors.items():
        if tensor.dtype != _TENSORS[name]:
            raise ValueError(f"{name} is {tensor.dtype}, expected {np.dtype(_TENSORS[name])}")
    moved, dimension = content.pop("moved"), content.pop("dimension")
    if tensors["vectors"].shape != (moved, dimension) or len(lines) != moved:
        raise ValueError(f"{tensors['vectors'].shape} vectors and {len(lines)} ids, expected {(moved, dimension)}")
    for name in ("format", "version", "files"):
        del content[name]
    for name in _FIGURES:
        content[name] = math.nan if content[name] is None else content[name]
    hashes = tuple(line["text_sha256"] for line in lines)
    return {
        **content,
        **{name: tensors.get(name) for name in _TENSORS},
        "warnings": tuple(content["warnings"]),
        "candidates": tuple(
            {**tried, **{name: blank for name, blank in FIGURES_OF_A_CANDIDATE.items() if tried[name] is None}}
            for tried in content["candidates"]
        ),
        "fusion": None if content["fusion"] is None else Fusion(**content["fusion"]),
        "ambiguous_texts": {digest: tuple(ids) for digest, ids in content["ambiguous_texts"].items()},
        "ids": tuple(line["id"] for line in lines),
        "text_hashes": () if None in hashes else hashes,
    }


def _number_or_none(figure: float) -> float | None:
    return float(figure) if math.isfinite(figure) else None


def content_fingerprint(fields: Mapping[str, Any]) -> str:
    """Return the sha256 (hex) of all that decides which vectors a nudge serves."""
    digest = hashlib.sha256()
    served = ("ids", "text_hashes", "similarity", "encoder", "base_norm")
    digest.update(json.dumps([fields[name] for name in served]).encode("ascii"))
    for name in ("vectors", "query_map", "shift"):
        array = fields[name]
        digest.update(f"{name} {None if array is None else array.shape}".encode("ascii"))
        digest.update(b"" if array is None else array.astype("<f4").tobytes())
    return digest.hexdigest()


def current_versions() -> dict[str, str]:
    """Return the versions of what makes a nudge, without importing any of it."""
    versions = {"python": platform.python_version()}
    for package in ("nudge-integrations", "numpy", "scipy", "torch"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def thin_curve(steps: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (c, 2) float64 steps and values: all, or 20,000 spread evenly, the first, last and best among them."""
    curve = np.column_stack([steps, values]).astype(np.float64)
    if len(curve) <= _MOST_CURVE_POINTS:
        return curve
    spread = np.linspace(0, len(curve) - 1, _MOST_CURVE_POINTS - 1).round().astype(np.int64)
    return curve[np.unique(np.append(spread, np.argmax(values)))]
