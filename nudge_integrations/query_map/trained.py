"""A linear query map trained by gradient steps: what LlamaIndex, Chroma and the NUDGE paper call a query adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors.torch import save_file
from tqdm import tqdm

from nudge_integrations.corpus.topk import row_blocks
from nudge_integrations.errors import InputError
from nudge_integrations.query_map.query_map import Evaluate, QueryMap, moved
from nudge_integrations.query_map.teaching import LabelledQueries, fold_codes, labelled_queries
from nudge_integrations.solver import Options, OptionValues, Prepared
from nudge_integrations.solver.prepare import prepare_for
from nudge_integrations.solver.solving import prepared_options
from nudge_integrations.storage import replacing

__all__ = ["fit_trained"]

# One part in this many of the queries is held out where the caller names none.
_VALIDATION_PART = 8


def fit_trained(  # type: ignore[misc]  # its temperature is another than that of nudges
    documents: object,
    queries: object = None,
    relevance: object = None,
    *,
    evaluate: Evaluate,
    validation: ArrayLike | Sequence[int] | None = None,
    groups: ArrayLike | Sequence[object] | None = None,
    temperature: float = 0.05,
    learning_rate: float = 1e-3,
    batch_size: int = 128,
    epochs: int = 100,
    patience: int = 10,
    checkpoint: Path | str | None = None,
    **options: Unpack[OptionValues],
) -> QueryMap:
    r"""Train q' = unit(q + q M) from M = 0 by the softmax over the positives in a batch, and keep the best epoch.

    Each query should score the mean of its own positives above those of the others in the batch; AdamW takes the steps.
    Training stops once ``patience`` epochs in a row bring the held-out queries nothing, and the best map is returned,
    which is zero where no epoch beats leaving the queries alone.

    Args:
        documents: (n, d) numpy array, torch tensor or memory map of float16, bfloat16, float32 or float64; made unit
            length on reading. Read once, in blocks.
        queries: (m, d), the labelled queries; made unit length.
        relevance: (m, n) scipy sparse gains, > 0 where a document is relevant to a query.
        evaluate: Takes all queries adapted, (m, d) float32 unit vectors on the device, and returns their metric, (m,).
        validation: Rows of the queries to hold out; None for a seeded eighth of the groups.
        groups: (m,) names; queries of one group are held out together.
        temperature: tau of the softmax.
        learning_rate: The learning rate of AdamW.
        batch_size: Queries in a batch.
        epochs: At most this many.
        patience: How many epochs without a gain end the training.
        checkpoint: Where to keep the best map so far, as safetensors; each better one replaces it whole.
        **options: See `Options`: seed (of the held-out part and the order of batches), device, block_bytes, progress.

    Returns:
        A `QueryMap` without held-out queries; its scores are means over the validation queries.

    Raises:
        InputError: If shapes do not fit, a vector is zero, NaN or infinite, an option is out of range, or nothing is
            left to train on or to validate by.

    Example:
        >>> import numpy as np
        >>> from scipy import sparse
        >>> random = np.random.default_rng(0)
        >>> documents = random.normal(size=(200, 8))
        >>> relevant = np.arange(200)
        >>> queries = documents + np.roll(documents, 1, axis=1)
        >>> relevance = sparse.csr_array(np.eye(200))
        >>> unit = torch.nn.functional.normalize(torch.from_numpy(documents).float())
        >>> def hit(adapted):
        ...     return ((adapted @ unit.T).argmax(dim=1) == torch.from_numpy(relevant)).float()
        >>> query_map = fit_trained(documents, queries, relevance, evaluate=hit, learning_rate=0.1, epochs=10)
        >>> query_map.score > query_map.baseline + 0.2, query_map.steps > 1
        (True, True)
    """
    if min(temperature, learning_rate) <= 0 or min(batch_size, epochs, patience) < 1:
        raise InputError("temperature and learning_rate must be above 0; batch_size, epochs and patience at least 1")
    if isinstance(documents, Prepared):
        prepared = prepared_options(documents, (queries, relevance, groups), options)
    else:
        asked = Options(max_queries=1).changed(**options)
        prepared = prepare_for(asked, documents, queries, relevance, None, groups, softmax=False, maps=False)
    learner = labelled_queries(prepared)
    held_out = _held_out(learner, validation, prepared.options.seed)
    every, rows = prepared.labels.queries, torch.from_numpy(learner.rows[held_out])

    def score(found: torch.Tensor) -> float:
        return float(evaluate(moved(every, every @ found))[rows].double().mean())

    best = baseline = score(every.new_zeros(every.shape[1], every.shape[1]))
    chosen, steps = every.new_zeros(every.shape[1], every.shape[1]), 0
    train = _epochs(learner, ~held_out, temperature, learning_rate, batch_size, prepared.options.seed)
    bar = tqdm(range(1, epochs + 1), desc="training the query map", unit="epoch", disable=not prepared.options.progress)
    for epoch in bar:
        found = train()
        value = score(found)
        if value > best:
            best, chosen, steps = value, found, epoch
            if checkpoint is not None:
                _save(found, Path(checkpoint))
        elif epoch - steps >= patience:
            break
    return QueryMap(chosen.cpu().numpy(), temperature, steps, baseline, best)


def _held_out(learner: LabelledQueries, validation: ArrayLike | Sequence[int] | None, seed: int) -> NDArray[np.bool_]:
    """Return (l,) which of the queries that have a relevant document are held out."""
    if validation is None:
        held_out: NDArray[np.bool_] = fold_codes(learner.groups, _VALIDATION_PART, seed) == 0
    else:
        held_out = np.isin(learner.rows, np.asarray(validation))
    if held_out.all() or not held_out.any():
        raise InputError(
            f"{held_out.sum()} of {len(held_out)} queries with a relevant document are held out; "
            "some must be left to train on and some to validate by"
        )
    return held_out


def _epochs(
    learner: LabelledQueries, teaching: NDArray[np.bool_], temperature: float, rate: float, batch_size: int, seed: int
) -> Callable[[], torch.Tensor]:
    """Return a function that trains one more epoch and returns the map (d, d)."""
    kept = torch.from_numpy(np.flatnonzero(teaching)).to(learner.queries.device)
    queries, positives = learner.queries[kept], torch.nn.functional.normalize(learner.positives[kept], dim=1)
    weight = torch.zeros(queries.shape[1], queries.shape[1], device=queries.device, requires_grad=True)
    optimiser = torch.optim.AdamW([weight], lr=rate)
    generator = torch.Generator().manual_seed(seed)

    def epoch() -> torch.Tensor:
        order = torch.randperm(len(queries), generator=generator).to(queries.device)
        for part in row_blocks(len(order), batch_size):
            batch = order[part]
            own = positives[batch]
            scores = moved(queries[batch], queries[batch] @ weight) @ own.T / temperature
            # Queries with the same positives are no negatives to each other.
            same = (own @ own.T > 1.0 - 1e-5).fill_diagonal_(False)
            target = torch.arange(len(batch), device=scores.device)
            loss = torch.nn.functional.cross_entropy(scores.masked_fill(same, -torch.inf), target)
            (weight.grad,) = torch.autograd.grad(loss, weight)
            optimiser.step()
        return weight.detach().clone()

    return epoch


def _save(found: torch.Tensor, path: Path) -> None:
    """Write a map so that the file is whole at every moment."""
    with replacing(path) as beside:
        save_file({"map": found.cpu().contiguous()}, beside)
