"""The moved documents as a small Parquet file beside the corpus: ids, vectors, and which nudge it was."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.errors import InputError, MismatchError, MissingExtraError
from nudge_integrations.scale.id_column import ids_in_type
from nudge_integrations.scale.vector_column import vector_array
from nudge_integrations.storage import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.artifact import Nudge
    from nudge_integrations.scale.file_corpus import FileCorpus

__all__ = ["VERSION_COLUMN", "Destinations", "destinations", "moved_rows", "write_moved"]

VERSION_COLUMN = "nudge_version"


@dataclass(frozen=True, eq=False)
class Destinations:
    """Where the documents of a corpus go.

    Attributes:
        vectors: Id -> (d,) float32, as long as the base vector is unless lengths count.
        edited: Ids of documents that changed since the fit and stay where they are.
        absent: Ids that the nudge moves and the corpus does not hold.
    """

    vectors: dict[str, NDArray[np.float32]]
    edited: frozenset[str]
    absent: tuple[str, ...]


def destinations(nudge: Nudge, corpus: FileCorpus) -> Destinations:
    """Check all documents that move against the base vectors that a corpus holds, before anything is written.

    Raises:
        MismatchError: If none is there, more than half come with other vectors than at the fit, or one comes nudged
            already.
        InputError: If one of them has no vector.
    """
    row_of = corpus.rows_of(nudge.ids)
    ids = [one for one in nudge.ids if one in row_of]
    absent = tuple(one for one in nudge.ids if one not in row_of)
    if absent and not ids:
        raise MismatchError(
            f"none of the {len(nudge):,} documents that this nudge moves, {absent[0]!r} for one, is among the "
            f"{len(corpus):,} of {corpus.table.location}: another corpus, or another column of ids?"
        )
    if not ids:
        return Destinations({}, frozenset(), ())
    base = corpus.take(np.array([row_of[one] for one in ids], np.int64))
    edited = frozenset(nudge.edited(ids, base))
    nudged = nudge.apply(ids, base)
    if nudge.similarity == "cosine":
        nudged = nudged * np.linalg.norm(base, axis=1, keepdims=True)
    return Destinations({i: v for i, v in zip(ids, nudged, strict=True) if i not in edited}, edited, absent)


def moved_rows(nudge: Nudge, corpus: FileCorpus | None = None) -> Any:
    """Return the documents that moved as a pyarrow table: id, vector and nudge version, in the nudge's order.

    Args:
        nudge: The nudge.
        corpus: Where the columns' names and types come from; None for ``id`` as text and ``vector`` as float32 lists.

    Raises:
        InputError: If the nudge moves every document, which a table of the moved ones cannot say.
        MissingExtraError: If pyarrow is not installed.

    >>> from scipy import sparse
    >>> from nudge_integrations.solver import solve
    >>> from nudge_integrations.artifact import Nudge
    >>> documents, relevance = np.eye(2, dtype=np.float32), sparse.csr_array([[1.0, 0.0]])
    >>> solution = solve(documents, np.array([[0.6, 0.8]]), relevance, method="nudge-n", step=0.1)
    >>> nudge = Nudge.from_solution(
    ...     solution, ids=["a", "b"], documents=documents, texts=None, encoder="toy", dataset_hash=""
    ... )
    >>> moved_rows(nudge).column_names
    ['id', 'vector', 'nudge_version']
    """
    try:
        arrow = import_module("pyarrow")
    except ImportError as error:
        raise MissingExtraError("pyarrow", "scale") from error
    if nudge.shift is not None:
        raise InputError(
            "this nudge shifts every document: rewrite() writes them all, and a table of those that moved has not most"
        )
    id_name, vector_name = "id", "vector"
    id_type, vector_type = arrow.string(), arrow.list_(arrow.float32(), nudge.dimension)
    if corpus is not None:
        id_name, vector_name = corpus.columns.id, corpus.columns.vector
        id_type, vector_type = (corpus.table.schema.field(name).type for name in (id_name, vector_name))
    ids = ids_in_type(list(nudge.ids), id_type) if len(nudge) else arrow.array([], id_type)
    version = arrow.array([nudge.fingerprint] * len(nudge), arrow.string())
    vectors = vector_array(np.asarray(nudge.vectors), vector_type)
    return arrow.table({id_name: ids, vector_name: vectors, VERSION_COLUMN: version})


def write_moved(nudge: Nudge, path: str | os.PathLike[str], corpus: FileCorpus | None = None) -> int:
    """Write `moved_rows` to a Parquet file, whole or not at all, in place of one that is there.

    Returns:
        How many documents moved.

    Raises:
        InputError: If the path is a file of the corpus, or as `moved_rows`.
        MissingExtraError: As `moved_rows`.
        OSError: If the disk refuses; a file that was there is as it was.
    """
    if corpus is not None and any(Path(shard.name).resolve() == Path(path).resolve() for shard in corpus.table.shards):
        raise InputError(f"{path} is a file of the corpus: write what moved beside it")
    table = moved_rows(nudge, corpus)
    with replacing(Path(path)) as beside:
        # Numbers of embeddings hardly repeat: a dictionary of them takes longer to read and is no smaller.
        import_module("pyarrow.parquet").write_table(table, beside, use_dictionary=[VERSION_COLUMN])
    return int(table.num_rows)
