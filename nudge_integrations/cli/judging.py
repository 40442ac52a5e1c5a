"""What a command names -> evaluations: run files, folders of a fit, or a nudge with its encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli.encoders import EncoderChoice, load_encoder
from nudge_integrations.cli.formats import form_of, read_dataset
from nudge_integrations.cli.kept import Kept, read_kept
from nudge_integrations.cli.measure import judged
from nudge_integrations.cli.runs import read_run
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.evaluation import Comparison, Evaluation, compare, evaluate

__all__ = ["LabelSource", "Statistics", "compare_kept", "compare_sources", "evaluate_source"]


@dataclass(frozen=True)
class LabelSource:
    """Labels to judge by, as they were named.

    Attributes:
        path: A BEIR folder or a question-answer JSON; None where a folder of a fit brings its own.
        split: Which qrels of a BEIR folder.
    """

    path: Path | None
    split: str = "test"

    def read(self, source: Path) -> RetrievalDataset:
        """Read them.

        Raises:
            InputError: If none were named; says for which source.
        """
        if self.path is None:
            raise InputError(f"{source} brings no labels to judge by: give a dataset, a BEIR folder or a JSON")
        return read_dataset(self.path, form_of(self.path), split=self.split)


@dataclass(frozen=True)
class Statistics:
    """How to compare; as in `compare`."""

    resamples: int = 10_000
    confidence: float = 0.95
    seed: int = 0


def evaluate_source(
    source: Path, labels: LabelSource, encoder: EncoderChoice | None, metrics: Sequence[str], *, base: bool
) -> Evaluation:
    """Judge what a path stands for.

    Args:
        source: A run file, or a folder with a nudge.
        labels: What to judge by; none needed for the folder of a fit, which is then judged by its own test labels.
        encoder: What encodes the labels' documents and queries, for a nudge.
        metrics: Names with a cutoff.
        base: Whether to judge the base vectors instead of the nudged ones.

    Raises:
        NudgeError: If something cannot be read, or does not fit together.
    """
    if not source.is_dir():
        return evaluate(read_run(source), labels.read(source), metrics)
    if labels.path is None:
        kept = read_kept(source)
        return evaluate(kept.before if base else kept.after, kept.test, metrics)
    nudge, dataset = Nudge.load(source), labels.read(source)
    if encoder is None:
        raise InputError(f"{source} holds vectors: give the --encoder that they come from, to encode {labels.path}")
    model = load_encoder(encoder)
    nudge.check_encoder(model)
    documents = model.encode_documents(list(dataset.corpus.values()))
    queries = model.encode_queries(list(dataset.queries.values()))
    return judged(dataset, documents, queries, metrics, None if base else nudge)


def compare_kept(kept: Kept, metrics: Sequence[str], statistics: Statistics) -> Comparison:
    """Compare a fit's own rankings before and after, also for groups: what it learned from, and like queries."""
    return _compared(kept.before, kept.after, kept.test, metrics, statistics, kept)


def compare_sources(
    before: Path, after: Path, labels: LabelSource, metrics: Sequence[str], statistics: Statistics
) -> Comparison:
    """Compare two rankings: run files, or what fits found with their nudges.

    Raises:
        DatasetError: If they were made on different test labels, or the labels cannot be read.
        InputError: If there are no labels.
    """
    sides = [_found(path) for path in (before, after)]
    own = [test for _, test in sides if test is not None]
    if len(own) == 2 and own[0].hash != own[1].hash:
        raise DatasetError(f"{before} and {after} were judged by different test labels; fit both on one split")
    dataset = own[0] if own and labels.path is None else labels.read(before)
    return _compared(sides[0][0], sides[1][0], dataset, metrics, statistics)


def _found(path: Path) -> tuple[Mapping[str, Any], RetrievalDataset | None]:
    if not path.is_dir():
        return read_run(path), None
    kept = read_kept(path)
    return kept.after, kept.test


def _compared(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    dataset: RetrievalDataset,
    metrics: Sequence[str],
    statistics: Statistics,
    kept: Kept | None = None,
) -> Comparison:
    return compare(
        before,
        after,
        dataset,
        metrics=metrics,
        train=None if kept is None else kept.train,
        query_vectors=None if kept is None else kept.queries,
        resamples=statistics.resamples,
        confidence=statistics.confidence,
        seed=statistics.seed,
    )
