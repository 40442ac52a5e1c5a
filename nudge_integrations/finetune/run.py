"""One run from pairs to encoder, which can be killed and resumed at any moment."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import SentenceTransformerEncoder
from nudge_integrations.errors import CorruptArtifactError, InputError
from nudge_integrations.finetune.options import TrainingOptions
from nudge_integrations.finetune.pairs import Texts, mine_pairs
from nudge_integrations.finetune.record import RunRecord
from nudge_integrations.finetune.validation import METRIC, embedded, validation_score

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["FineTuning"]

logger = logging.getLogger(__name__)

# The folder of the finished model in that of the run.
MODEL = "model"

# Under which names sentence-transformers looks for a model's prompts.
PROMPT_NAMES = {"query": ("query",), "document": ("document", "passage", "corpus")}


@dataclass(frozen=True)
class FineTuning:
    """A fine-tuning run: all that decides its result, and the training itself.

    Attributes:
        base: The encoder that is fine-tuned; it stays as it is.
        dataset: The labelled queries.
        validation: Others, or None.
        options: How to train.
        progress: Whether to show bars.
    """

    base: SentenceTransformerEncoder
    dataset: RetrievalDataset
    validation: RetrievalDataset | None
    options: TrainingOptions
    progress: bool

    def result(self, folder: Path, *, resume: bool) -> SentenceTransformerEncoder:
        """Run in a folder, or go on with the run that is there, and return the encoder.

        Raises:
            InputError: If a run is there and is not to be resumed.
            MismatchError: If it is another run.
            CorruptArtifactError: If its record or its finished model is damaged.
        """
        settings = self._settings()
        if not resume and RunRecord.exists(folder):
            raise InputError(f"{folder} holds a run already: say resume=True to go on with it, or give another folder")
        record = RunRecord.load(folder, settings)
        if record is None:
            record = self._prepared(settings)
            record.save(folder)
        if record.fingerprint is not None:
            return self._finished(folder, record.fingerprint)
        return self._trained(folder, record)

    def _settings(self) -> dict[str, Any]:
        validation = None if self.validation is None else self.validation.hash
        data = {"model": self.base.fingerprint, "dataset": self.dataset.hash, "validation set": validation}
        return {**data, **asdict(self.options)}

    def _prepared(self, settings: dict[str, Any]) -> RunRecord:
        """Mine pairs with the encoder as it is, and evaluate it; the corpus is embedded once if both search it."""
        encoder = self.base
        negatives = self.options.hard_negatives
        index = embedded(self.dataset, encoder) if negatives else None
        queries = encoder.encode_queries(list(self.dataset.queries.values())) if negatives else None
        pairs = mine_pairs(self.dataset, index, queries, negatives)
        baseline = None
        if self.validation is not None:
            shared = index if self.validation.corpus == self.dataset.corpus else None
            baseline = validation_score(self.validation, encoder, shared)
        return RunRecord(settings, tuple(pairs), baseline)

    def _trained(self, folder: Path, record: RunRecord) -> SentenceTransformerEncoder:
        from nudge_integrations.finetune.training import train

        weights, score = train(
            copy.deepcopy(self.base.model),
            record.pairs,
            Texts(self.dataset),
            self._prompts(),
            self.options,
            folder,
            evaluate=self._evaluator(),
            progress=self.progress,
        )
        # Into a fresh copy: what was trained has flags and hooks of the training on it.
        model = copy.deepcopy(self.base.model)
        if score is not None and record.baseline is not None and score <= record.baseline:
            logger.warning("%s was best before training, %.4f (best after: %.4f)", METRIC, record.baseline, score)
            score = record.baseline
        else:
            model.load_state_dict(weights)
            logger.info("fine-tuned; %s on validation queries: %s -> %s", METRIC, record.baseline, score)
        encoder = self._wrapped(model)
        model.save_pretrained(str(folder / MODEL), create_model_card=False)
        record.finished(score, encoder.fingerprint).save(folder)
        return encoder

    def _finished(self, folder: Path, fingerprint: str) -> SentenceTransformerEncoder:
        from sentence_transformers import SentenceTransformer

        try:
            model = SentenceTransformer(str(folder / MODEL), device=str(self.base.model.device))
        except (OSError, ValueError, KeyError) as error:
            raise CorruptArtifactError(f"the finished model in {folder / MODEL} cannot be loaded: {error}") from error
        encoder = self._wrapped(model)
        if encoder.fingerprint != fingerprint:
            raise CorruptArtifactError(f"the model in {folder / MODEL} is not the one that this run made")
        return encoder

    def _evaluator(self) -> Callable[[SentenceTransformer], float] | None:
        validation = self.validation
        if validation is None:
            return None
        return lambda model: validation_score(validation, self._wrapped(model))

    def _wrapped(self, model: SentenceTransformer) -> SentenceTransformerEncoder:
        """Make an encoder of a model with the settings of the one that was given; never with its cache of vectors."""
        own = self.base._prompts
        return SentenceTransformerEncoder(
            model,
            batch_size=self.base.batch_size,
            progress=self.base.progress,
            query_prompt=own["query"],
            document_prompt=own["document"],
        )

    def _prompts(self) -> dict[str, str | None]:
        """Return what is put before queries and documents when they are encoded, so that training sees the same."""
        model = self.base.model
        prompts: dict[str, str | None] = {}
        for role, names in PROMPT_NAMES.items():
            name = next((name for name in names if name in model.prompts), model.default_prompt_name)
            own = self.base._prompts[role]
            prompts[role] = own if own is not None else model.prompts.get(name or "")
        return prompts
