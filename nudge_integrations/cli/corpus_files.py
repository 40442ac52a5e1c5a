"""``nudge fit --corpus`` and ``nudge apply`` over files that hold ids and vectors. Nothing is printed here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from nudge_integrations.cli.measure import RANKS, Measured, splits_for
from nudge_integrations.cli.screen import shows_bars
from nudge_integrations.corpus import as_rows, unit_rows
from nudge_integrations.dataset import RetrievalDataset, Splits
from nudge_integrations.errors import InputError
from nudge_integrations.evaluation import DEFAULT_METRICS, compare
from nudge_integrations.pipeline import fit
from nudge_integrations.scale import FileCorpus, open_corpus
from nudge_integrations.solver import Options, OptionValues

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nudge_integrations.artifact import Nudge
    from nudge_integrations.encoding import Encoder

__all__ = ["CorpusChoice", "measure_files", "over_ids"]

Runs = tuple[dict[str, list[str]], dict[str, list[str]]]


@dataclass(frozen=True)
class CorpusChoice:
    """Files named on the command line.

    Attributes:
        location: As `open_corpus` takes it.
        id: The column of ids.
        vector: The column of vectors.
        skip: Leave out faulty rows, and count them, instead of refusing them.
        partial: Folder for partial results of searches, None for none.
    """

    location: str
    id: str = "id"
    vector: str = "vector"
    skip: bool = False
    partial: Path | None = None

    def open(self) -> FileCorpus:
        """Open the files, with progress bars on a terminal.

        Raises:
            InputError: If there are no such files or columns, or ids are missing or repeated.
        """
        return open_corpus(
            self.location,
            id=self.id,
            vector=self.vector,
            skip=self.skip,
            checkpoints=self.partial,
            progress=shows_bars(),
        )


def measure_files(
    splits: Splits, encoder: Encoder, choice: CorpusChoice, method: str = "auto", **options: Unpack[OptionValues]
) -> Measured:
    """Do what `measure` does where documents are rows of files, for splits that `over_ids` returned.

    Both rankings of the test queries come from one more pass over the files.

    Raises:
        NudgeError: If the files cannot be opened, or the labels cannot be fitted.
    """
    splits = splits_for(splits, method, options)
    start = time.perf_counter()
    corpus = choice.open()
    parts = {"query_vectors": splits.train, "validation_query_vectors": splits.validation}
    asked = {
        name: encoder.encode_queries(list(part.queries.values())) for name, part in parts.items() if part is not None
    }
    queries = as_rows(encoder.encode_queries(list(splits.test.queries.values())), "test queries")
    if queries.shape[1] != corpus.dimension:
        raise InputError(
            f"{choice.location} holds vectors of {corpus.dimension} numbers and the encoder makes {queries.shape[1]}: "
            "name the model that filled it, or another column with --vector"
        )
    embedded = time.perf_counter()
    given: dict[str, Any] = {"weights": splits.train_weights, **asked, **options}
    nudge = fit(splits.train, encoder, validation=splits.validation, method=method, document_vectors=corpus, **given)
    fitted = time.perf_counter()
    before, after = _rankings(corpus, nudge, splits.test, queries)
    retrieved = time.perf_counter()
    metric = Options(**options).metric
    comparison = compare(
        before,
        after,
        splits.test,
        metrics=tuple(dict.fromkeys((*DEFAULT_METRICS, metric))),
        train=splits.train,
        seed=Options(**options).seed,
    )
    seconds = {"embedding": embedded - start, "fitting": fitted - embedded, "retrieving": retrieved - fitted}
    return Measured(nudge, comparison, seconds, np.zeros((0, corpus.dimension), np.float32), queries)


def over_ids(splits: Splits) -> Splits:
    """Return splits over the labelled documents; one whose text is not given goes by its id."""

    def named(part: RetrievalDataset | None) -> Any:
        if part is None:
            return None
        wanted = dict.fromkeys(i for grades in part.qrels.values() for i in grades)
        texts: Mapping[str, str] = {i: part.corpus.get(i, "").strip() or i for i in wanted}
        return RetrievalDataset(texts, part.queries, part.qrels)

    return replace(splits, train=named(splits.train), validation=named(splits.validation), test=named(splits.test))


def _rankings(corpus: FileCorpus, nudge: Nudge, test: RetrievalDataset, queries: NDArray[np.float32]) -> Runs:
    """Return the documents found for each test query with the base vectors, and with the nudged ones."""
    base = unit_rows(queries, "test queries")
    mapped = unit_rows(nudge.transform_queries(queries), "test queries")
    asked = base if nudge.query_map is None else np.concatenate([base, mapped])
    depth = min(len(corpus), 2 * RANKS)
    found = corpus.search(asked, depth)
    first, last = slice(0, len(base)), slice(len(asked) - len(base), len(asked))
    row_of = corpus.rows_of(nudge.ids)
    moved = np.array([row_of[one] for one in nudge.ids], np.int64)
    # Exact as far down as documents that did not move are known: below the last of these more could lie.
    reached = found.scores[last, -1] if depth < len(corpus) else np.full(len(base), -np.inf)
    stayed = ~np.isin(found.rows[last], moved)
    after = []
    for query, (scores, rows) in enumerate(zip(found.scores[last], found.rows[last], strict=True)):
        kept = stayed[query]
        of_moved = mapped[query] @ nudge.vectors.T
        every_score = np.concatenate([scores[kept], of_moved])
        every_row = np.concatenate([rows[kept], moved])
        order = np.lexsort((every_row, -every_score))[:RANKS]
        after.append(every_row[order][every_score[order] >= reached[query]])
    before = list(found.rows[first, :RANKS])
    return _by_ids(corpus, test.query_ids, before), _by_ids(corpus, test.query_ids, after)


def _by_ids(corpus: FileCorpus, queries: Sequence[str], rankings: Sequence[NDArray[np.int64]]) -> dict[str, list[str]]:
    rows = np.unique(np.concatenate(rankings))
    id_of = dict(zip(rows.tolist(), corpus.ids_of(rows), strict=True))
    return {query: [id_of[row] for row in found.tolist()] for query, found in zip(queries, rankings, strict=True)}
