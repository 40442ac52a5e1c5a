"""A corpus that is an array: in memory, on a device, or a memory map larger than memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from nudge_integrations.corpus.corpus import Corpus, Neighbours
from nudge_integrations.corpus.topk import BestSoFar, likely_floor, row_blocks
from nudge_integrations.corpus.vectors import Matrix, as_matrix
from nudge_integrations.errors import InputError

__all__ = ["ArrayCorpus", "as_corpus", "block_of", "checked_device", "device_of", "unit_block"]

# Documents that tell which scores a query's best surely reach, and how many are looked at together.
_FLOOR_SAMPLE, _BLOCK_ROWS = 2048, 8192

# Squares of numbers outside this range leave float32; such rows are rescaled before their length is taken.
_SMALLEST_LENGTH, _LARGEST_LENGTH = 1e-15, 1e15


def checked_device(device: str | torch.device | None) -> torch.device:
    """Return a device that can be computed on; torch's own choice for None.

    Raises:
        InputError: If torch cannot put anything on it.
    """
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"device {device!r} cannot be used here ({error}); give another one, or None") from error


def device_of(matrix: Matrix, device: str | torch.device | None) -> torch.device:
    """Return the device asked for, else the one the vectors are on.

    Raises:
        InputError: If the device asked for cannot be used.
    """
    if device is not None:
        return checked_device(device)
    return matrix.device if isinstance(matrix, torch.Tensor) else torch.device("cpu")


def block_of(matrix: Matrix, rows: slice | NDArray[np.int64], device: torch.device) -> torch.Tensor:
    """Copy some rows into a fresh float32 tensor on a device."""
    if isinstance(matrix, torch.Tensor):
        picked = matrix[rows] if isinstance(rows, slice) else matrix[torch.from_numpy(rows).to(matrix.device)]
        return picked.to(device=device, dtype=torch.float32, copy=True)
    # A copy in the stored type first: torch refuses read-only memory, and converts half precision faster than numpy.
    copied = torch.from_numpy(np.array(matrix[rows], dtype=matrix.dtype.newbyteorder("="), order="C"))
    return copied.to(device=device, dtype=torch.float32)


def unit_block(block: torch.Tensor, name: str, names: NDArray[np.int64] | int = 0) -> torch.Tensor:
    """Scale each row of a float32 tensor to unit length, in place.

    Raises:
        InputError: If a row is zero, NaN or infinite; names the row: one of ``names``, or counted from a number.
    """
    lengths = torch.linalg.vector_norm(block, dim=1, keepdim=True)
    odd = torch.nonzero(~((lengths > _SMALLEST_LENGTH) & (lengths < _LARGEST_LENGTH))[:, 0])[:, 0]
    for row in odd.tolist():
        values = block[row].double()
        largest = float(values.abs().max()) if values.numel() else 0.0
        if not np.isfinite(largest) or largest == 0.0:
            what = "a zero vector" if largest == 0.0 else "not finite (NaN or infinity)"
            number = names + row if isinstance(names, int) else int(names[row])
            raise InputError(
                f"{name} row {number} is {what}; every vector needs a direction: drop the row or embed it again"
            )
        block[row] = (values / largest).float()
        lengths[row] = torch.linalg.vector_norm(block[row])
    return block.div_(lengths)


@dataclass(frozen=True, eq=False)
class ArrayCorpus:
    """Documents in an (n, d) array or tensor; see `Corpus`.

    Every search reads all documents once, in blocks, so a memory map may be larger than memory. Documents are compared
    at unit length, which they need not have.

    Attributes:
        vectors: (n, d) numpy array, torch tensor or memory map of float16, bfloat16, float32 or float64.
        device: Where to compute; None for where the vectors are.
        block_bytes: Bound on the temporary memory of a search.
        progress: Show a progress bar over blocks.
        shift: (d,) float32, added to every unit vector that is searched, which is then made unit length again; or None.

    Example:
        >>> corpus = ArrayCorpus(np.eye(3))
        >>> corpus.search(np.float32([[0.0, 1.0, 0.0]]), 2).rows.tolist()
        [[1, 0]]
    """

    vectors: Matrix
    device: str | torch.device | None = None
    block_bytes: int = 128 << 20
    progress: bool = False
    shift: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Refuse what is no matrix of floating numbers."""
        object.__setattr__(self, "vectors", as_matrix(self.vectors, "documents"))

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: NDArray[np.float32], k: int) -> Neighbours:
        """Return the best k documents of (m, d) unit queries.

        Raises:
            InputError: If a document is zero, NaN or infinite; names its row.
        """
        asked = torch.from_numpy(queries).to(self._on)
        rows_of_sample = self._rows_of_sample(_FLOOR_SAMPLE, 0)
        floor = likely_floor(asked, self._unit(rows_of_sample, rows_of_sample), k, max(1, len(self)))
        scores, rows = self._search(asked, k, floor)
        missed = torch.nonzero((rows[:, -1] == len(self)) & torch.isfinite(floor))[:, 0]
        if len(missed) and k <= len(self):
            scores[missed], rows[missed] = self._search(asked[missed], k, None)
        return Neighbours(scores.cpu().numpy(), rows.cpu().numpy())

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the base vectors of some rows, as they are."""
        found: NDArray[np.float32] = block_of(self.vectors, rows, torch.device("cpu")).numpy()
        return found

    def sample(self, count: int, seed: int) -> NDArray[np.float32]:
        """Return the base vectors of a uniform sample of rows, ascending."""
        return self.take(self._rows_of_sample(count, seed))

    @property
    def _on(self) -> torch.device:
        return device_of(self.vectors, self.device)

    def _rows_of_sample(self, count: int, seed: int) -> NDArray[np.int64]:
        if count >= len(self):
            return np.arange(len(self))
        return np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False))

    def _unit(self, rows: slice | NDArray[np.int64], names: NDArray[np.int64] | int) -> torch.Tensor:
        unit = unit_block(block_of(self.vectors, rows, self._on), "documents", names)
        if self.shift is None:
            return unit
        return torch.nn.functional.normalize(unit + torch.from_numpy(self.shift).to(unit), dim=1)

    def _search(self, queries: torch.Tensor, k: int, floor: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        best = BestSoFar(queries, k, len(self), floor)
        parts = list(row_blocks(len(self), max(1, min(_BLOCK_ROWS, self.block_bytes // (12 * self.dimension + 5120)))))
        for part in tqdm(parts, desc="reading the corpus", unit="block", disable=not self.progress):
            best.see(self._unit(part, part.start), part.start)
        return best.result()


def as_corpus(
    documents: object, *, device: str | torch.device | None = None, block_bytes: int = 128 << 20, progress: bool = False
) -> Corpus:
    """Return documents as a corpus: one as it is, an array as an `ArrayCorpus`.

    Raises:
        InputError: If they are neither.
    """
    if isinstance(documents, Corpus):
        return documents
    return ArrayCorpus(as_matrix(documents, "documents"), device, block_bytes, progress)
