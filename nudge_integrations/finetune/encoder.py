"""finetune_encoder: labelled queries and a model in; an encoder whose vectors rank them better out."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import SentenceTransformerEncoder
from nudge_integrations.errors import DatasetError, MissingExtraError
from nudge_integrations.finetune.options import TrainingOptions, rate_of
from nudge_integrations.finetune.run import FineTuning
from nudge_integrations.finetune.strategies import LORA_RANK, Strategy, trained_names

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["finetune_encoder"]

PACKAGES = ("sentence_transformers", "accelerate", "datasets", "peft")


def finetune_encoder(
    dataset: RetrievalDataset,
    model: str | Path | SentenceTransformer | SentenceTransformerEncoder,
    *,
    validation: RetrievalDataset | None = None,
    strategy: Strategy = "full",
    temperature: float = 1 / 20,
    epochs: int = 3,
    batch_size: int = 32,
    learning_rate: float | None = None,
    hard_negatives: int = 1,
    lora_rank: int = LORA_RANK,
    frozen_blocks: int | None = None,
    check_every: int | None = None,
    patience: int = 2,
    output_dir: str | Path | None = None,
    resume: bool = False,
    seed: int = 0,
    progress: bool = True,
) -> SentenceTransformerEncoder:
    """Train an encoder on labelled queries, so that documents which nobody labelled are ranked better too.

    Multiple negatives ranking: for each query q with a document d that answers it, among all documents of the batch,

        loss = -log( exp(cos(q, d) / temperature) / sum over documents x of exp(cos(q, x) / temperature) ).

    Batches never hold a document that answers another of their queries. The way the model pools stays. The result is
    an encoder with a fingerprint of its own: ``fit(dataset, encoder)`` then moves its vectors as it would any other's,
    which keeps both gains; give `fit` validation queries then, since queries that were trained on say little about how
    far to move. The model that is given stays as it is. On a processor the result is the same for a seed.

    Args:
        dataset: Queries and the documents that answer them; hard negatives come from its corpus.
        model: A model's name or path, a loaded ``SentenceTransformer``, or an encoder, whose prompts, batch
            size and bars are kept.
        validation: Other queries. nDCG@10 over its corpus, with plain search, chooses the best checkpoint and stops
            training early; where none is better than the model was, the result is the model as it was. A validation
            set with fewer documents is evaluated faster. None trains for all epochs and takes the last step.
        strategy: What is trained: ``"full"``, everything; ``"lora"``, adapters of all linear layers, merged at the end;
            ``"bias"``, biases alone; ``"freeze"``, all but embeddings and the first blocks.
        temperature: 1/20 to 1/40 is usual.
        epochs: How often each pair is seen, at most.
        batch_size: Pairs in a batch.
        learning_rate: The largest; it rises over the first tenth of the steps and falls to 0. None takes 2e-5 for
            ``"full"`` and ``"freeze"``, 1e-3 for ``"lora"``, 5e-4 for ``"bias"``.
        hard_negatives: For each pair, how many documents that are near the query and do not answer it.
        lora_rank: Rank of the adapters.
        frozen_blocks: How many blocks ``"freeze"`` leaves as they are; None takes the first half.
        check_every: Steps between checkpoints, each of which is validated; None makes one after every epoch.
        patience: How many checkpoints in a row may be no better before training stops.
        output_dir: Where checkpoints and, in the folder ``model``, the result are kept; None keeps nothing.
        resume: Go on with the run in ``output_dir``, from its last checkpoint to the result that it would have had;
            a run that has finished gives its result, and where there is none it begins. Weights, optimizer, learning
            rate, random numbers and patience are restored. Nothing that is read can run code: weights are safetensors,
            the rest is JSON and tensors that ``torch.load`` reads with ``weights_only=True``.
        seed: Another seed, other batches and dropout.
        progress: Whether to show progress bars.

    Returns:
        The fine-tuned encoder.

    Raises:
        MissingExtraError: If a package of the extra ``finetune`` is not installed.
        InputError: If an option is out of range, the model cannot be loaded or has no blocks to train, or the folder
            holds a run and ``resume`` is False.
        DatasetError: If a dataset has problems, or training queries are among the validation queries.
        MismatchError: If the run in the folder was started with another model, dataset or option.
        CorruptArtifactError: If the folder's record or finished model is damaged.

    Example:
        >>> train, validation, test = dataset.split()  # doctest: +SKIP
        >>> encoder = finetune_encoder(train, "all-MiniLM-L6-v2", validation=validation)  # doctest: +SKIP
        >>> nudge = fit(train, encoder)  # doctest: +SKIP
    """
    _check_installed()
    options = TrainingOptions(
        strategy=strategy,
        temperature=temperature,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=rate_of(strategy, learning_rate),
        hard_negatives=hard_negatives,
        lora_rank=lora_rank,
        frozen_blocks=frozen_blocks,
        check_every=check_every,
        patience=patience,
        seed=seed,
    )
    _check_data(dataset, validation)
    base = (
        model if isinstance(model, SentenceTransformerEncoder) else SentenceTransformerEncoder(model, progress=progress)
    )
    trained_names(base.model, strategy, frozen_blocks)  # refuses what cannot be trained before anything is embedded
    run = FineTuning(base, dataset, validation, options, progress)
    if output_dir is not None:
        return run.result(Path(output_dir), resume=resume)
    with TemporaryDirectory() as folder:
        return run.result(Path(folder), resume=False)


def _check_installed() -> None:
    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError(package, "finetune")


def _check_data(dataset: RetrievalDataset, validation: RetrievalDataset | None) -> None:
    dataset.validate().raise_for_problems()
    if not len(dataset):
        raise DatasetError("the dataset has no queries, so there is nothing to train on")
    if validation is None:
        return
    validation.validate().raise_for_problems()
    if not len(validation):
        raise DatasetError("the validation set has no queries; give None to train without one")
    shared = set(dataset.queries.values()) & set(validation.queries.values())
    if shared:
        raise DatasetError(
            f"validation: {len(shared)} queries are training queries too, such as {min(shared)!r}, so training would "
            "be evaluated by what it learned from: hold queries out with dataset.split()"
        )
