"""A nudge of a Lance dataset as one commit, and the version before it again."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from nudge_integrations.errors import InputError, SimilarityError
from nudge_integrations.scale.id_column import ids_in_type
from nudge_integrations.scale.lance import open_lance
from nudge_integrations.scale.moved_rows import destinations
from nudge_integrations.scale.vector_column import vector_array

if TYPE_CHECKING:
    from nudge_integrations.artifact import Nudge
    from nudge_integrations.scale.file_corpus import FileCorpus

__all__ = ["LanceCommit", "nudge_lance", "restore_lance"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LanceCommit:
    """The commit with which a nudge changed a Lance dataset.

    Attributes:
        before: The version that holds the base vectors; `restore_lance` takes it.
        after: The version that was committed.
        rows: How many rows changed.
        nudge: Fingerprint of the nudge.
    """

    before: int
    after: int
    rows: int
    nudge: str


def nudge_lance(nudge: Nudge, corpus: FileCorpus, *, optimize: bool = True) -> LanceCommit:
    """Write the moved vectors of a Lance dataset as one commit: a reader sees all of them or none.

    A moved vector keeps the length of its base vector. The commit fails, and nothing changes, where somebody else
    changed those rows since the corpus was opened.

    Args:
        nudge: What to apply.
        corpus: The dataset, opened over base vectors.
        optimize: Compact fragments and bring indices up to date afterwards, in commits of their own.

    Returns:
        The versions before and after, for `restore_lance`.

    Raises:
        InputError: If it is no Lance dataset, changed since it was opened, or the nudge shifts every document.
        SimilarityError: If lengths count in the vectors of the nudge, and do not in the dataset.
        MismatchError: If vectors are of another model or text, or nudged already.
    """
    dataset = getattr(corpus.table, "dataset", None)
    if dataset is None:
        raise InputError(f"{corpus.table.location} is no Lance dataset: rewrite() writes Parquet files again")
    if nudge.shift is not None:
        raise InputError("this nudge shifts every document, which is no commit of a few rows: fit without shift=")
    if nudge.similarity == "dot" and nudge.base_norm is None:
        raise SimilarityError(
            f"lengths count in the vectors of {nudge.method!r}, so all others would have to change as well: fit with "
            "method='nudge-n'"
        )
    newest = open_lance(corpus.table.location)
    if newest.version != dataset.version:
        raise InputError(
            f"{corpus.table.location} is at version {newest.version} and was opened at {dataset.version}: open it again"
        )
    moved = destinations(nudge, corpus).vectors
    if not moved:
        return LanceCommit(newest.version, newest.version, 0, nudge.fingerprint)
    columns, schema = corpus.columns, corpus.table.schema
    ids = ids_in_type(list(moved), schema.field(columns.id).type)
    vectors = vector_array(np.stack(list(moved.values())), schema.field(columns.vector).type)
    table = import_module("pyarrow").table({columns.id: ids, columns.vector: vectors})
    newest.merge_insert(corpus.columns.id).when_matched_update_all().execute(table)
    after = open_lance(corpus.table.location)
    commit = LanceCommit(int(dataset.version), int(after.version), int(table.num_rows), nudge.fingerprint)
    logger.info("%s: version %d has %d moved rows", corpus.table.location, commit.after, commit.rows)
    if optimize:
        after.optimize.compact_files()
        after.optimize.optimize_indices()
    return commit


def restore_lance(location: str | os.PathLike[str], version: int) -> int:
    """Make an earlier version of a Lance dataset the newest one again, in one commit; return its new number.

    Raises:
        InputError: If there is no such version, because it was cleaned up say.
        MissingExtraError: If pylance is not installed.
    """
    dataset = open_lance(location, version)
    dataset.restore()
    return int(open_lance(location).version)
