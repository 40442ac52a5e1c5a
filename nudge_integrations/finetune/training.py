"""Training itself: sentence-transformers' Trainer and loss, with checkpoints that hold no code."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback

from nudge_integrations.errors import CorruptArtifactError
from nudge_integrations.finetune.batches import ConflictFreeBatches
from nudge_integrations.finetune.options import TrainingOptions
from nudge_integrations.finetune.pairs import Texts, TrainingPair
from nudge_integrations.finetune.strategies import make_trainable, merged_weights
from nudge_integrations.finetune.validation import METRIC
from nudge_integrations.storage import load_files, replacing, write_atomically
from nudge_integrations.storage.sealing import seal

__all__ = ["train"]

WEIGHTS = "trained.safetensors"
STATE = "trainer_state.json"
# Written last, with the checksums of all others.
SEAL, FORMAT, VERSION = "checkpoint.json", "nudge-integrations/checkpoint", 1

logger = logging.getLogger(__name__)


def train(
    model: SentenceTransformer,
    pairs: Sequence[TrainingPair],
    texts: Texts,
    prompts: Mapping[str, str | None],
    options: TrainingOptions,
    folder: Path,
    *,
    evaluate: Callable[[SentenceTransformer], float] | None,
    progress: bool,
) -> tuple[dict[str, torch.Tensor], float | None]:
    """Train a model in place, from its last checkpoint in the folder if there is one.

    Args:
        model: Is changed, and of no use afterwards.
        pairs: What is trained on.
        texts: Which texts answer which.
        prompts: ``"query"`` and ``"document"`` prompts, where there are any.
        options: How to train.
        folder: Where checkpoints go.
        evaluate: Scores a model on a validation set; None trains to the end.
        progress: Whether to show a bar.

    Returns:
        The state of the best checkpoint, or of the last step without it, under the names of the model that was
        given; and the best score.
    """
    with _seeded(options.seed):
        make_trainable(model, options.strategy, lora_rank=options.lora_rank, frozen_blocks=options.frozen_blocks)
        trainer = _Trainer(
            model=model,
            args=_arguments(model, pairs, prompts, options, folder, evaluated=evaluate is not None, progress=progress),
            train_dataset=_columns(pairs, texts),
            loss=MultipleNegativesRankingLoss(model, scale=1 / options.temperature),
            evaluator=None if evaluate is None else _ValidationEvaluator(evaluate),
            callbacks=[] if evaluate is None else [EarlyStoppingCallback(options.patience)],
        )
        trainer.batches = ConflictFreeBatches(pairs, texts, options.batch_size, options.seed)
        if trainer.pop_callback(ProgressCallback) is not None:
            trainer.add_callback(_Bar)
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=_last_checkpoint(folder))
    return merged_weights(model), None if evaluate is None else trainer.state.best_metric


class _Trainer(SentenceTransformerTrainer):
    """The Trainer with our batches, and with checkpoints of the trained weights alone, in safetensors."""

    batches: ConflictFreeBatches

    def get_batch_sampler(self, *args: Any, **kwargs: Any) -> Any:
        return self.batches

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Leave out the model card, which would look for the model on a hub."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        trained = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        with replacing(folder / WEIGHTS) as beside:
            save_file({name: weight.detach().contiguous() for name, weight in trained.items()}, beside)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        super()._save_checkpoint(*args, **kwargs)
        checkpoint = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        files = {path.name: path.read_bytes() for path in checkpoint.iterdir() if path.name != SEAL}
        entries = {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        }
        write_atomically(checkpoint / SEAL, [seal({"format": FORMAT, "version": VERSION, "files": entries})])

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        _check(Path(resume_from_checkpoint))
        weights = load_file(Path(resume_from_checkpoint) / WEIGHTS)
        self.model.load_state_dict(weights, strict=False)

    def _load_best_model(self) -> None:
        # By its step and not by its path, so that a folder may be moved between a kill and the resumption.
        self._load_from_checkpoint(f"{self.args.output_dir}/checkpoint-{self.state.best_global_step}")


class _Bar(ProgressCallback):
    """The Trainer's bar, without the figures that it prints to standard output."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Print nothing."""


class _ValidationEvaluator(BaseEvaluator):
    """A score of a model as the Trainer wants it."""

    def __init__(self, evaluate: Callable[[SentenceTransformer], float]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.primary_metric = str(METRIC)
        self._evaluate = evaluate

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        return {str(METRIC): self._evaluate(model)}


def _arguments(
    model: SentenceTransformer,
    pairs: Sequence[TrainingPair],
    prompts: Mapping[str, str | None],
    options: TrainingOptions,
    folder: Path,
    *,
    evaluated: bool,
    progress: bool,
) -> SentenceTransformerTrainingArguments:
    when = "epoch" if options.check_every is None else "steps"
    document = prompts.get("document")
    negatives = [f"negative_{number}" for number in range(len(pairs[0].negatives))]
    by_column = {"query": prompts.get("query"), "document": document, **dict.fromkeys(negatives, document)}
    return SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        warmup_steps=0.1,  # of all steps
        prompts={column: prompt for column, prompt in by_column.items() if prompt},
        seed=options.seed,
        use_cpu=model.device.type == "cpu",
        dataloader_pin_memory=model.device.type != "cpu",
        save_strategy=when,
        save_steps=options.check_every or 1,
        save_total_limit=2,
        eval_strategy=when if evaluated else "no",
        eval_steps=options.check_every or 1,
        load_best_model_at_end=evaluated,
        metric_for_best_model=str(METRIC) if evaluated else None,
        greater_is_better=True if evaluated else None,
        restore_callback_states_from_checkpoint=True,
        report_to="none",
        logging_strategy="epoch",
        disable_tqdm=not progress,
    )


def _columns(pairs: Sequence[TrainingPair], texts: Texts) -> Dataset:
    """Lay texts out as the loss reads them, in this order: query, document, negatives."""
    columns = {
        "query": [texts.queries[pair.query] for pair in pairs],
        "document": [texts.corpus[pair.document] for pair in pairs],
    }
    for number in range(len(pairs[0].negatives)):
        columns[f"negative_{number}"] = [texts.corpus[pair.negatives[number]] for pair in pairs]
    return Dataset.from_dict(columns)


def _last_checkpoint(folder: Path) -> str | None:
    """Find the last checkpoint that was written to its end and is as it was written."""
    steps = sorted((int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*")), reverse=True)
    for step in steps:
        checkpoint = folder / f"checkpoint-{step}"
        try:
            _check(checkpoint)
        except CorruptArtifactError as error:
            logger.warning("%s is passed over, and its steps are made again: %s", checkpoint, error)
            continue
        return str(checkpoint)
    return None


def _check(checkpoint: Path) -> None:
    """Refuse a checkpoint of which a file is missing or was altered: it would resume to another model.

    Raises:
        CorruptArtifactError: Names the file.
    """
    load_files(checkpoint, SEAL, (WEIGHTS, STATE), format_name=FORMAT, version=VERSION)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed every generator that training draws from, and leave them as they were."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  what the Trainer seeds
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
