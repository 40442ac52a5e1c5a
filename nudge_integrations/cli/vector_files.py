"""Vectors and their ids in files: .npy, .npz and .safetensors, read by memory map and written block by block."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from nudge_integrations.dataset.files import read_json_list, read_jsonl, read_text
from nudge_integrations.errors import InputError
from nudge_integrations.storage import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BLOCK_ROWS", "check_kind", "read_ids", "read_vectors", "write_vectors"]

BLOCK_ROWS = 65_536
"""How many vectors are in memory at a time, where the format allows."""

_WRITTEN = (".npy", ".safetensors")
_READ = (*_WRITTEN, ".npz")


def check_kind(path: Path, kinds: tuple[str, ...] = _WRITTEN) -> None:
    """Refuse a file of vectors whose name says no kind that can be written, or another of some kinds.

    Raises:
        InputError: If it ends in none of them.
    """
    if path.suffix not in kinds:
        raise InputError(f"{path} is no file of vectors: its name must end in {' or '.join(kinds)}")


def read_vectors(path: Path, tensor: str | None = None) -> NDArray[Any]:
    """Open a file of vectors.

    Args:
        path: ``.npy``, which is mapped into memory, ``.npz`` or ``.safetensors``.
        tensor: Which tensor of a ``.safetensors`` or ``.npz`` file; None where there is one.

    Returns:
        The (n, d) array as it is stored.

    Raises:
        InputError: If it cannot be read, or holds something else.
    """
    check_kind(path, _READ)
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected vectors as .npy, .npz or .safetensors")
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False) if path.suffix == ".npy" else _tensor(path, tensor)
    except InputError:
        raise
    except Exception as error:  # whatever numpy, zipfile and tokenize say of what is no such file
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
    stored: NDArray[Any]
    if path.suffix == ".npz":
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            stored = archive[_chosen(path, list(archive.keys()), name)]
    else:
        with safe_open(path, framework="numpy") as file:
            stored = file.get_tensor(_chosen(path, list(file.keys()), name))
    return stored


def _chosen(path: Path, names: list[str], name: str | None) -> str:
    chosen = names[0] if len(names) == 1 and name is None else name or "vectors"
    if chosen not in names:
        raise InputError(
            f"{path} holds {', '.join(names) or 'nothing'}: name one of them with --tensor, or call it 'vectors'"
        )
    return chosen
