"""The options of `solve`, checked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nudge_integrations.errors import InputError
from nudge_integrations.solver.metrics import Metric, parse_metric
from nudge_integrations.solver.normalised_line import NormalisedLine
from nudge_integrations.solver.path import Arc, Line, Path, SparseLine

__all__ = ["BLOCK_BYTES", "METHODS", "PATHS", "PROTECTED_FROM", "TEMPERATURES", "UNSEEN_LOSS", "Options"]

METHODS = ("auto", "nudge-n", "nudge-m", "nudge-m+n", "nudge-s", "contrastive")
TEMPERATURES = (0.2, 0.1, 0.07, 0.05, 0.03)
BLOCK_BYTES = 128 << 20

# Where queries for documents that nobody labelled are half of the traffic or more, `auto` lets them lose a
# tenth of a point at most.
PROTECTED_FROM, UNSEEN_LOSS = 0.5, 0.001

PATHS: dict[str, Path] = {
    "nudge-n": Arc(),
    "nudge-m": Line(),
    "nudge-m+n": NormalisedLine(),
    "nudge-s": SparseLine(),
    "contrastive": Arc(),
}


@dataclass(frozen=True)
class Options:
    """The options of `solve`, which explains them, and one more.

    Attributes:
        unseen_loss: How much queries for documents that nobody labelled may lose at most, mean and a standard error for
            safety; None for no bound. With it each is evaluated without any label of its most relevant document,
            not only with this at rest.

    Raises:
        InputError: If an option is out of range.
    """

    method: str = "auto"
    metric: str = "ndcg@10"
    step: float | None = None
    unseen_weight: float = 0.0
    unseen_loss: float | None = None
    temperature: float | None = None
    graded: bool = False
    refit: bool = True
    max_queries: int = 4096
    normalize_queries: bool = True
    shift: bool = False
    standard_errors: float = 2.0
    seed: int = 0
    block_bytes: int = BLOCK_BYTES
    progress: bool = False

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if self.method not in METHODS:
            raise InputError(f"unknown method {self.method!r}; expected one of {', '.join(METHODS)}")
        for name, low, high in (
            ("step", 0.0, float(np.finfo(np.float32).max)),
            ("unseen_weight", 0.0, 1.0),
            ("temperature", 1e-3, 1e3),
            ("standard_errors", 0.0, np.inf),
            ("max_queries", 1, np.inf),
            ("block_bytes", 1 << 16, np.inf),
        ):
            value = getattr(self, name)
            absent = value is None and name in ("step", "temperature")
            if not absent and not (isinstance(value, int | float | np.number) and low <= value <= high):
                raise InputError(f"{name} must be a number between {low:g} and {high:g}; got {value!r}")
        if self.temperature is not None and self.method not in ("auto", "contrastive"):
            raise InputError(
                f"temperature= belongs to method='contrastive' or 'auto'; {self.method!r} takes no softmax"
            )
        parse_metric(self.metric)

    def protecting(self) -> Options:
        """Return the options with the bound that `auto` sets, if unseen documents weigh so much."""
        return replace(self, unseen_loss=UNSEEN_LOSS) if self.unseen_weight >= PROTECTED_FROM else self

    @property
    def measured(self) -> Metric:
        """The metric."""
        return parse_metric(self.metric)

    @property
    def temperatures(self) -> tuple[float | None, ...]:
        """The temperatures to try; None is no softmax."""
        if self.method not in ("auto", "contrastive"):
            return (None,)
        return (None, *TEMPERATURES) if self.temperature is None else (self.temperature,)
