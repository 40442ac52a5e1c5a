"""Vectors and their ids in files: .npy and .safetensors, read by memory map and written block by block."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from nudge_integrations.cli.formats import read_json_list
from nudge_integrations.dataset.files import read_jsonl, read_text
from nudge_integrations.errors import InputError
from nudge_integrations.storage import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BLOCK_ROWS", "check_kind", "read_ids", "read_vectors", "write_vectors"]

BLOCK_ROWS = 65_536
"""How many vectors are in memory at a time, where the format allows."""

_KINDS = (".npy", ".safetensors")


def check_kind(path: Path) -> None:
    """Refuse a file of vectors whose name says no kind that can be read and written.

    Raises:
        InputError: If it ends in neither ``.npy`` nor ``.safetensors``.
    """
    if path.suffix not in _KINDS:
        raise InputError(f"{path} is no file of vectors: its name must end in {' or '.join(_KINDS)}")


def read_vectors(path: Path, tensor: str | None = None) -> NDArray[Any]:
    """Open a file of vectors.

    Args:
        path: ``.npy``, which is mapped into memory, or ``.safetensors``.
        tensor: Which tensor of a ``.safetensors`` file; None where there is one.

    Returns:
        The (n, d) array as it is stored.

    Raises:
        InputError: If it cannot be read, or holds something else.
    """
    check_kind(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected vectors as .npy or .safetensors")
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False) if path.suffix == ".npy" else _tensor(path, tensor)
    except (ValueError, TypeError, SafetensorError, EOFError) as error:
        raise InputError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from error
    if stored.ndim != 2 or stored.dtype.kind != "f":
        raise InputError(f"{path} holds {stored.dtype} {stored.shape}, expected (n, d) floating-point numbers")
    vectors: NDArray[Any] = stored
    return vectors


def read_ids(path: Path) -> list[str]:
    """Read the ids of vectors, in their order.

    Args:
        path: A line each; ``.jsonl`` with ``_id`` or ``id`` in each line, as a BEIR ``corpus.jsonl``; or a list
            in ``.json``.

    Raises:
        InputError: If one of them is no id.
        DatasetError: If the file is absent, or cannot be read as what its name says.
    """
    if path.suffix == ".jsonl":
        ids = [record.get("_id", record.get("id")) for _, record in read_jsonl(path)]
    elif path.suffix == ".json":
        ids = read_json_list(path, "ids")
    else:
        # Newlines alone end a line: splitlines() would also cut an id at U+2028, NEL or a form feed.
        ids = [line for line in (line.removesuffix("\r") for line in read_text(path).split("\n")) if line]
    wrong = next((row for row, name in enumerate(ids) if not isinstance(name, str | int)), None)
    if wrong is not None:
        raise InputError(f"{path}: number {wrong + 1} has no id; expected text")
    return [str(name) for name in ids]


def write_vectors(path: Path, blocks: Iterable[NDArray[np.float32]], shape: tuple[int, int], tensor: str) -> None:
    """Write vectors; the file appears whole, in place of one that was there, or not at all.

    Args:
        path: ``.npy``, written block by block, or ``.safetensors``.
        blocks: The rows, in their order.
        shape: (n, d).
        tensor: What to call them in a ``.safetensors`` file.

    Raises:
        InputError: If the name ends otherwise.
    """
    check_kind(path)
    with replacing(path) as beside:
        if path.suffix == ".npy":
            stored = np.lib.format.open_memmap(beside, mode="w+", dtype=np.float32, shape=shape)
            start = 0
            for block in blocks:
                stored[start : start + len(block)] = block
                start += len(block)
            stored.flush()
        else:
            save_file({tensor: np.concatenate([np.empty((0, shape[1]), np.float32), *blocks])}, beside)


def _tensor(path: Path, name: str | None) -> NDArray[Any]:
    with safe_open(path, framework="numpy") as file:
        names = list(file.keys())
        chosen = names[0] if name is None and len(names) == 1 else name
        if chosen not in names:
            raise InputError(f"{path} holds the tensors {', '.join(names)}: name one of them with --tensor")
        stored: NDArray[Any] = file.get_tensor(chosen)
        return stored
