"""The cost of fine-tuning an encoder, against moving vectors alone: a ranked table for a budget of computation."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from nudge_integrations.encoding import SentenceTransformerEncoder
from nudge_integrations.errors import InputError
from nudge_integrations.finetune.strategies import STRATEGIES, ParameterCounts, count_parameters

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["CROSSOVER_FLOPS", "DEVICES", "NUDGE_ONLY", "Plan", "PlannedStrategy", "plan_finetuning"]

NUDGE_ONLY = "nudge only"

# Largest rates of dense products in FLOP/s, as the makers give them; of a processor's core roughly, in float32.
DEVICES = {
    "cpu-core": 1e11,
    "t4-fp16": 65e12,
    "l4-bf16": 121e12,
    "v100-fp16": 125e12,
    "a100-bf16": 312e12,
    "h100-bf16": 989e12,
}

# An order of magnitude: where exactly the source puts the crossover is not known to us.
CROSSOVER_FLOPS = 1e17

# FLOPs a pair and token for each of the N parameters, and for each of the N_train trained ones: 2 for the way forward,
# 2 for gradients of activations, 2 for gradients of weights.
_FORWARD = 2.0
_COSTS = {"full": (6.0, 0.0), "lora": (4.0, 2.0), "bias": (4.0, 2.0), "freeze": (2.0, 4.0)}

_WHY = {
    "full": "trains everything; what the recipe takes at low budgets",
    "lora": "trains adapters of every layer; what the recipe takes at high budgets",
    "freeze": "saves the way back through the first blocks; no budget at which the recipe takes it",
    "bias": "trains least, at about the price of LoRA; no budget at which the recipe takes it",
    "nudge only": "trains nothing and keeps the corpus as it is embedded; worth adding to any encoder above",
}


@dataclass(frozen=True)
class PlannedStrategy:
    """One row of a plan.

    Attributes:
        strategy: ``"full"``, ``"lora"``, ``"bias"``, ``"freeze"``, or ``"nudge only"``, which trains no encoder.
        trained_parameters: N_train, without embeddings.
        flops_per_pair: What training on one pair costs.
        training_flops: What training on all pairs costs.
        embedding_flops: What embedding the corpus again costs; for ``"nudge only"``, embedding and scoring the queries.
        total_flops: The bill: the sum of both.
        hours: The bill on the plan's device.
        within_budget: Whether the bill fits the budget.
        why: What speaks for its rank, in words.
    """

    strategy: str
    trained_parameters: int
    flops_per_pair: float
    training_flops: float
    embedding_flops: float
    total_flops: float
    hours: float
    within_budget: bool
    why: str


@dataclass(frozen=True, repr=False)
class Plan:
    """A ranked table of ways to spend a budget; ``print(plan)`` shows it.

    Attributes:
        rows: Best first; those within the budget come before those that are not.
        budget_flops: What may be spent.
        crossover_flops: The budget above which LoRA comes before full fine-tuning.
        device: What the hours are for, in words.
        flops_per_second: The device's largest rate.
        utilisation: The share of it that is reached.
    """

    rows: tuple[PlannedStrategy, ...]
    budget_flops: float
    crossover_flops: float
    device: str
    flops_per_second: float
    utilisation: float

    @property
    def best(self) -> PlannedStrategy:
        """The first row."""
        return self.rows[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}

    def __repr__(self) -> str:
        ranked = ", ".join(row.strategy for row in self.rows)
        return f"Plan({self.budget_flops:.2e} FLOPs on {self.device}: {ranked})"

    def __str__(self) -> str:
        cells: list[tuple[str, ...]] = [
            ("", "strategy", "trained", "training", "embedding", "total FLOPs", "hours", "within budget", "why")
        ]
        cells += [
            (
                str(rank),
                row.strategy,
                f"{row.trained_parameters:,}",
                *(f"{flops:.2e}" for flops in (row.training_flops, row.embedding_flops, row.total_flops)),
                f"{row.hours:,.2f}",
                "yes" if row.within_budget else "no",
                row.why,
            )
            for rank, row in enumerate(self.rows, start=1)
        ]
        widths = [max(map(len, column)) for column in list(zip(*cells, strict=True))[:-1]]
        head = (
            f"Budget {self.budget_flops:.2e} FLOPs; hours on {self.device} "
            f"({self.flops_per_second:.2e} FLOP/s at {self.utilisation:.0%})"
        )
        # The last column is prose, which needs no width.
        table = ("  ".join(f"{cell:{width}}" for cell, width in zip(row, [*widths, 0], strict=True)) for row in cells)
        return "\n".join([head, *table])


def plan_finetuning(
    budget_flops: float,
    *,
    model: SentenceTransformer | SentenceTransformerEncoder | ParameterCounts,
    pairs: int,
    tokens_per_pair: float,
    documents: int,
    tokens_per_document: float,
    tokens_per_query: float = 32.0,
    device: str = "cpu-core",
    flops_per_second: float | None = None,
    utilisation: float = 0.4,
    crossover_flops: float = CROSSOVER_FLOPS,
) -> Plan:
    """Rank the ways to spend a budget of computation: which strategy of `finetune_encoder`, or nudging alone.

    With N parameters that every token passes (no embeddings, no head that pooling by the mean leaves unused), N_train
    trained ones and T tokens, training on a pair costs

        full                 6 N T
        LoRA, biases alone   (4 N + 2 N_train) T
        frozen first blocks  (2 N + 4 N_train) T

    FLOPs, and embedding n documents 2 N T_doc n, which usually dominates: a trained encoder needs the corpus embedded
    again, nudging does not. Attention's part that grows with the square of the length, embeddings, and the adapters'
    own forward pass are left out. The recipe is that of Ziarko et al., "Repurposing Language Models into Embedding
    Models: Finding the Compute-Optimal Recipe" (NeurIPS 2024, arXiv 2406.04165): full fine-tuning at low budgets, LoRA
    at high ones, the other two below them; pooling by the mean, temperature 1/40, LoRA of rank 32 at a learning rate of
    1e-3. Where exactly that paper sees the crossover is not known to us: ``crossover_flops`` is a guess at its order
    of magnitude, and yours to set.

    Args:
        budget_flops: What may be spent on training and embedding together.
        model: The encoder, whose parameters are counted, or their `ParameterCounts`.
        pairs: Training pairs that are seen, over all epochs.
        tokens_per_pair: T, tokens of the query, of its document and of the hard negatives that come with them.
        documents: n, the size of the corpus.
        tokens_per_document: T_doc.
        tokens_per_query: Tokens that nudging alone embeds for each pair; at least the queries must become vectors.
        device: One of ``DEVICES``; any words where ``flops_per_second`` is given.
        flops_per_second: The device's largest rate.
        utilisation: 0 .. 1, the share of that rate that is reached.
        crossover_flops: The budget above which LoRA comes before full fine-tuning.

    Raises:
        InputError: If a number is not positive, the utilisation above 1, or the device unknown.

    Example:
        >>> trained = {"full": 10_000_000, "lora": 500_000, "bias": 40_000, "freeze": 5_000_000}
        >>> size = {"pairs": 1000, "tokens_per_pair": 300, "documents": 5000, "tokens_per_document": 250}
        >>> plan = plan_finetuning(1e15, model=ParameterCounts(10_000_000, trained), **size)
        >>> plan
        Plan(1.00e+15 FLOPs on cpu-core: full, lora, freeze, bias, nudge only)
        >>> plan.best.flops_per_pair == 6 * 10_000_000 * 300
        True
    """
    rate = _rate(device, flops_per_second)
    _check(
        budget_flops=budget_flops,
        pairs=pairs,
        tokens_per_pair=tokens_per_pair,
        documents=documents,
        tokens_per_document=tokens_per_document,
        tokens_per_query=tokens_per_query,
        flops_per_second=rate,
        utilisation=utilisation,
        crossover_flops=crossover_flops,
    )
    counts = _counts(model)
    corpus = _FORWARD * counts.total * tokens_per_document * documents
    bills: list[tuple[str, int, float, float]] = [
        (strategy, counts.trained[strategy], _flops_per_pair(strategy, counts, tokens_per_pair), corpus)
        for strategy in STRATEGIES
    ]
    bills.append((NUDGE_ONLY, 0, 0.0, _FORWARD * counts.total * tokens_per_query * pairs))
    rows = [
        PlannedStrategy(
            strategy=strategy,
            trained_parameters=trained,
            flops_per_pair=per_pair,
            training_flops=per_pair * pairs,
            embedding_flops=embedding,
            total_flops=per_pair * pairs + embedding,
            hours=(per_pair * pairs + embedding) / (rate * utilisation) / 3600,
            within_budget=per_pair * pairs + embedding <= budget_flops,
            why=_WHY[strategy],
        )
        for strategy, trained, per_pair, embedding in bills
    ]
    best_first = ("full", "lora") if budget_flops <= crossover_flops else ("lora", "full")
    order = (*best_first, "freeze", "bias", NUDGE_ONLY)
    rows.sort(key=lambda row: (not row.within_budget, order.index(row.strategy)))
    return Plan(tuple(rows), budget_flops, crossover_flops, device, rate, utilisation)


def _flops_per_pair(strategy: str, counts: ParameterCounts, tokens: float) -> float:
    every, trained = _COSTS[strategy]
    return (every * counts.total + trained * counts.trained[strategy]) * tokens


def _counts(model: SentenceTransformer | SentenceTransformerEncoder | ParameterCounts) -> ParameterCounts:
    if isinstance(model, ParameterCounts):
        return model
    inner = model.model if isinstance(model, SentenceTransformerEncoder) else model
    if not isinstance(inner, nn.Module):
        raise InputError(
            f"model is {model!r}, expected a SentenceTransformer, a SentenceTransformerEncoder or ParameterCounts"
        )
    return count_parameters(inner)


def _rate(device: str, flops_per_second: float | None) -> float:
    if flops_per_second is not None:
        return flops_per_second
    if device not in DEVICES:
        raise InputError(f"device {device!r} is not one of {', '.join(DEVICES)}; give its flops_per_second")
    return DEVICES[device]


def _check(**numbers: float) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and number > 0):
            raise InputError(f"{name} is {number!r}, expected a positive number")
    if numbers["utilisation"] > 1:
        raise InputError(f"utilisation is {numbers['utilisation']!r}, expected a share of at most 1")
