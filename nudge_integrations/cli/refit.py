"""A run folder and new labels -> what a refit comes to, and the run folder that keeps it. Nothing is printed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nudge_integrations.artifact.saved import LABELS
from nudge_integrations.cli.encoders import EncoderChoice, load_encoder
from nudge_integrations.cli.formats import form_of, read_corpus, read_dataset
from nudge_integrations.cli.import_paths import is_import_path
from nudge_integrations.cli.measure import evaluate_vectors
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.label_weights import LabelWeights, read_weights
from nudge_integrations.errors import InputError
from nudge_integrations.evaluation import RunFolder
from nudge_integrations.feedback import labels_and_weights, read_feedback
from nudge_integrations.pipeline import RefitDetails, refit_details

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RefitJob"]


@dataclass(frozen=True, eq=False)
class RefitJob:
    """A refit of a run folder.

    Attributes:
        folder: The run folder.
        run: What is in it.
        labels: The new labels, or None.
        texts: Document id -> text, as they are now.
        vectors: (n, d) their base vectors.
        details: What the refit came to.
    """

    folder: Path
    run: RunFolder
    labels: RetrievalDataset | None
    texts: Mapping[str, str]
    vectors: NDArray[np.float32]
    details: RefitDetails

    @classmethod
    def done(
        cls,
        folder: Path,
        labels: Path | None,
        corpus: Path | None,
        encoder: EncoderChoice,
        *,
        split: str = "train",
        **options: Any,
    ) -> RefitJob:
        """Read everything, embed what is new, and fit; nothing is written.

        Args:
            folder: The run folder.
            labels: A BEIR folder, a JSON or a log of feedback with the new labels, or None.
            corpus: The documents as they are now; None for those of the folder.
            encoder: The encoder; an empty name stands for the one that the folder names.
            split: Which qrels of a BEIR folder are the new labels.
            **options: As in `refit`.

        Raises:
            NudgeError: If a part cannot be read, or `refit` refuses it.
        """
        run = RunFolder.load(folder)
        if not encoder.name:
            encoder = replace(encoder, name=_named_in(folder, run))
        model = load_encoder(encoder)
        run.nudge.check_encoder(model)
        texts = dict(run.test.corpus) if corpus is None else read_corpus(corpus)
        known = {text: row for row, text in enumerate(run.test.corpus.values())}
        fresh = [text for text in dict.fromkeys(texts.values()) if text not in known]
        rows = run.documents if not fresh else np.concatenate([run.documents, model.encode_documents(fresh)])
        known |= {text: len(run.documents) + place for place, text in enumerate(fresh)}
        vectors = rows[[known[text] for text in texts.values()]]
        new, weights = (None, None) if labels is None else _labels(labels, split, corpus, texts)
        details = refit_details(run.nudge, new, vectors, documents=texts, encoder=model, weights=weights, **options)
        return cls(folder, run, new, texts, vectors, details)

    def save(self) -> None:
        """Keep the result in the folder: a new run where something changed, else the new labels alone.

        Raises:
            ArtifactError: If the folder is not what it was.
            OSError: If the disk refuses.
        """
        if not self.details.changed:
            self.details.nudge.labels.save(self.folder / LABELS)
            return
        run, nudge = self.run, self.details.nudge
        test = _over(run.test, self.texts)
        kept = [row for row, query in enumerate(run.test.queries) if query in test.queries]
        metrics, queries = run.metrics, run.queries[kept]
        ranked_by: Literal["cosine", "dot"] = "cosine" if nudge.base_norm is None else "dot"
        before = evaluate_vectors(test, self.vectors, queries, metrics, similarity=ranked_by)
        after = evaluate_vectors(test, self.vectors, queries, metrics, nudge)
        figures = {"before": dict(before.means), "after": dict(after.means), "queries": len(test.queries)}
        chosen = {"method": nudge.method, "step": nudge.step, "status": nudge.status}
        replace(
            run,
            nudge=nudge,
            result={**run.result, **figures, **chosen},
            train=_over(nudge.labels.dataset(), self.texts),
            validation=None,
            test=test,
            before=before.rankings,
            after=after.rankings,
            documents=self.vectors,
            queries=queries,
        ).save(self.folder)

    def result(self) -> dict[str, Any]:
        """Return the figures as plain data, ready for JSON."""
        details, gain = self.details, self.details.gain
        change, said = details.documents, details.diff
        return {
            "changed": details.changed,
            "reason": details.reason,
            "new_labels": details.new_labels,
            "labels": change.labels,
            "waiting": change.waiting,
            "gone": list(change.gone),
            "edited": list(change.edited),
            "method": details.nudge.method,
            "step": details.nudge.step,
            "score": details.nudge.score,
            "diff": {"added": len(said.added), "removed": len(said.removed), "changed": len(said.changed)},
            "gain": None
            if gain is None
            else {"queries": gain.queries, "before": gain.before, "after": gain.after, "interval": list(gain.interval)},
        }


def _labels(
    path: Path, split: str, corpus: Path | None, texts: Mapping[str, str]
) -> tuple[RetrievalDataset, LabelWeights | None]:
    """Read new labels, and how much they count."""
    form = form_of(path)
    if form == "feedback":
        return labels_and_weights(read_feedback(path), corpus=texts)
    return read_dataset(path, form, split=split, corpus=corpus), read_weights(path)


def _named_in(folder: Path, run: RunFolder) -> str:
    """Return the model that a run names; a file may not say which code to run, and a fingerprint is no name."""
    named = str(run.result.get("encoder", ""))
    if not named or is_import_path(named) or named == run.nudge.encoder:
        raise InputError(f"{folder} was fitted with {named or 'an encoder that it does not name'}: give --encoder")
    return named


def _over(labels: RetrievalDataset, texts: Mapping[str, str]) -> RetrievalDataset:
    """Return labels over the documents that are there, without queries that say nothing of them."""
    qrels = {query: {i: g for i, g in grades.items() if i in texts} for query, grades in labels.qrels.items()}
    kept = {query: grades for query, grades in qrels.items() if any(grades.values())}
    return RetrievalDataset(texts, {query: labels.queries[query] for query in kept}, kept)
