"""Evaluations of run files, run folders, or a nudge with its encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli.encoders import EncoderChoice
from nudge_integrations.cli.formats import form_of, read_dataset
from nudge_integrations.cli.given_vectors import GivenVectors, VectorFiles, reused
from nudge_integrations.cli.measure import evaluate_vectors
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import DatasetError, InputError
from nudge_integrations.evaluation import Evaluation, Run, RunFolder, evaluate, read_run
from nudge_integrations.evaluation.rankings import depth_of
from nudge_integrations.pipeline import similarity_of

__all__ = ["LabelSource", "evaluate_source", "fitted_on", "read_rankings"]


@dataclass(frozen=True)
class LabelSource:
    """The labels named on the command line.

    Attributes:
        path: A BEIR folder or a question-answer JSON; None where a run folder brings its own.
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
            raise InputError(f"{source} brings no labels to evaluate with: give a dataset, a BEIR folder or a JSON")
        return read_dataset(self.path, form_of(self.path), split=self.split)


def evaluate_source(
    source: Path,
    labels: LabelSource,
    encoder: EncoderChoice | None,
    files: VectorFiles,
    metrics: Sequence[str],
    *,
    base: bool,
    ignore_identical_ids: bool = False,
) -> Evaluation:
    """Evaluate a run file, a run folder or a nudge.

    Args:
        source: A run file, or a folder with a nudge.
        labels: The labels; none needed for a run folder, which has test labels of its own.
        encoder: What encodes the labels' documents and queries, for a nudge.
        files: Vectors of these that are there already, beside those that the run kept.
        metrics: Names with a cutoff.
        base: Whether to evaluate the base vectors instead of the nudged ones.
        ignore_identical_ids: Leave out of each ranking the document that has the query's id.

    Raises:
        NudgeError: If something cannot be read, or does not fit together.
    """
    if not source.is_dir():
        return _whole(read_run(source), labels.read(source), metrics, ignore_identical_ids)
    if labels.path is None:
        run = RunFolder.load(source)
        return _whole(run.before if base else run.after, run.test, metrics, ignore_identical_ids)
    nudge, dataset = Nudge.load(source), labels.read(source)
    model = _model(source, nudge, encoder, files, labels.path)
    documents = model.encode_documents(list(dataset.corpus.values()))
    queries = model.encode_queries(list(dataset.queries.values()))
    return evaluate_vectors(
        dataset,
        documents,
        queries,
        metrics,
        None if base else nudge,
        similarity=similarity_of(model),
        ignore_identical_ids=ignore_identical_ids,
    )


def _model(
    source: Path, nudge: Nudge, choice: EncoderChoice | None, files: VectorFiles, dataset: Path
) -> GivenVectors | Encoder:
    """Return the nudge's model, or the vectors that are there: in files, or kept by the run."""
    if choice is None and files == VectorFiles():
        model: GivenVectors | Encoder = GivenVectors(None, nudge.encoder)
    else:
        model = GivenVectors.of(choice, files, dataset)
        if choice is None and isinstance(model, GivenVectors):
            # Of which model the vectors are, the nudge tells by those of the documents that it moved.
            model = replace(model, fingerprint=nudge.encoder)
    nudge.check_encoder(model)
    return reused(model, source, asked=False)[0]


def fitted_on(source: Path, evaluation: Evaluation) -> str | None:
    """Say what a nudge already had from the labels that it was evaluated on; None for labels new to it, or no nudge.

    Args:
        source: What was evaluated, as in `evaluate_source`.
        evaluation: What came out.
    """
    if not source.is_dir() or evaluation.dataset is None:
        return None
    nudge, labels = Nudge.load(source), evaluation.dataset.hash
    if labels == nudge.validation_hash:
        return "The step was chosen on these labels: the figures are better than those of new queries."
    if labels == nudge.dataset_hash:
        return "The nudge was fitted to these labels: the figures are better than those of new queries."
    return None


def _whole(run: Run, dataset: RetrievalDataset, metrics: Sequence[str], ignore_identical_ids: bool) -> Evaluation:
    return evaluate(run, dataset, metrics, depth=depth_of(run), ignore_identical_ids=ignore_identical_ids)


def read_rankings(
    before: Path, after: Path, labels: LabelSource
) -> tuple[Mapping[str, Any], Mapping[str, Any], RetrievalDataset]:
    """Read two rankings, of run files or of run folders after their nudge, and the labels to compare them by.

    Raises:
        DatasetError: If they were made on different test labels, or the labels cannot be read.
        InputError: If there are no labels.
    """
    (first, first_test), (second, second_test) = (_ranking(path) for path in (before, after))
    own = [test for test in (first_test, second_test) if test is not None]
    if len(own) == 2 and own[0].hash != own[1].hash:
        raise DatasetError(f"{before} and {after} were evaluated on different test labels; fit both on one split")
    return first, second, own[0] if own and labels.path is None else labels.read(before)


def _ranking(path: Path) -> tuple[Mapping[str, Any], RetrievalDataset | None]:
    if not path.is_dir():
        return read_run(path), None
    run = RunFolder.load(path)
    return run.after, run.test
