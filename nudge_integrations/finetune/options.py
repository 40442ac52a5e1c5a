"""How to train an encoder, checked before anything is embedded."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nudge_integrations.errors import InputError
from nudge_integrations.finetune.strategies import STRATEGIES, Strategy

__all__ = ["LEARNING_RATES", "TrainingOptions", "rate_of"]

# What each strategy trains with unless told otherwise: the fewer parameters, the larger their steps.
LEARNING_RATES: dict[str, float] = {"full": 2e-5, "lora": 1e-3, "bias": 5e-4, "freeze": 2e-5}


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; `finetune_encoder` says what each means.

    Raises:
        InputError: If one is out of range.
    """

    strategy: Strategy
    temperature: float
    epochs: int
    batch_size: int
    learning_rate: float
    hard_negatives: int
    lora_rank: int
    frozen_blocks: int | None
    check_every: int | None
    patience: int
    seed: int

    def __post_init__(self) -> None:
        for name in ("epochs", "lora_rank", "patience"):
            self._at_least(name, 1)
        self._at_least("batch_size", 2)  # a pair alone in its batch has no negative
        self._at_least("hard_negatives", 0)
        self._at_least("seed", 0)
        if self.check_every is not None:
            self._at_least("check_every", 1)
        for name in ("temperature", "learning_rate"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value!r}, expected a positive number")

    def _at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or value < least:
            raise InputError(f"{name} is {value!r}, expected a whole number of at least {least}")


def rate_of(strategy: str, given: float | None) -> float:
    """Return the learning rate that was given, or the strategy's own.

    Raises:
        InputError: If the strategy is unknown.
    """
    if strategy not in LEARNING_RATES:
        raise InputError(f"strategy is {strategy!r}, expected one of {', '.join(map(repr, STRATEGIES))}")
    return LEARNING_RATES[strategy] if given is None else given
