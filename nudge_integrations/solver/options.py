"""The options of `solve`, `select`, `fit` and everything above them: declared once, checked once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np

from nudge_integrations.corpus.counts import whole_number
from nudge_integrations.corpus.metrics import Metric, parse_metric
from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["METHODS", "TEMPERATURES", "OptionValues", "Options"]

METHODS = ("auto", "nudge-n", "nudge-m", "nudge-m+n", "nudge-s", "contrastive")
TEMPERATURES = (0.2, 0.1, 0.07, 0.05, 0.03)

# Where queries for documents that nobody labelled are said to be half of the traffic or more, they are protected.
_PROTECTED_FROM = 0.5


class OptionValues(TypedDict, total=False):
    """All options but the method as keyword arguments; `Options` says what each means and what it is by default."""

    metric: str
    average: Literal["query", "document"]
    step: float | None
    unseen_weight: float
    temperature: float | None
    graded: bool
    negative_weight: float | None
    refit: bool
    max_queries: int
    normalize_queries: bool
    shift: bool
    standard_errors: float
    max_seconds: float | None
    ignore_identical_ids: bool
    seed: int
    device: str | torch.device | None
    block_bytes: int
    progress: bool


@dataclass(frozen=True)
class Options:
    """How to look for the best step.

    Attributes:
        method: ``"nudge-n"`` (turn on the unit sphere), ``"nudge-m"`` (add a vector; rank by inner product),
            ``"nudge-m+n"`` (add, then make unit length), ``"nudge-s"`` (move one coordinate), ``"contrastive"`` (turn
            towards the queries that a document answers and away from the others), or ``"auto"``: the best of nothing,
            nudge-n and contrastive; for `select` and `fit` query maps as well.
        metric: What is maximised: hit@k, recall@k, precision@k, mrr@k, map@k or ndcg@k.
        average: What counts the same: every ``"query"``, or every ``"document"``, however many queries want it, so that
            popular documents do not pay for a loss of rare ones.
        step: Take this step instead of searching: radians for nudge-n and contrastive, else a length.
        unseen_weight: 0 .. 1, how much the choice weighs queries for documents that nobody labelled. From 0.5 on
            ``"auto"`` protects them as well: it costs them a tenth of a point at most, standard error included.
        temperature: The softmax temperature of the contrastive direction; None tries several and none at all.
        graded: Weigh queries by their gains in the direction, not only in the metric.
        negative_weight: How much a no ("this does not answer it") counts beside a yes in the direction; None tries
            several, 0 among them, and takes the best. 0 leaves noes out.
        refit: With a validation set, add its labels to the directions once the step is chosen.
        max_queries: Evaluate by a seeded sample of at most this many queries; the solution says how many.
        normalize_queries: Make queries unit length, so that a long one does not dominate a sum.
        shift: Also move every unlabelled document by the mean displacement of the labelled ones.
        standard_errors: How far above zero the gain must be, in standard errors over queries; else nothing moves.
            With fewer than 30 labelled queries and documents that nobody labelled ``"auto"`` protects these as well,
            and the gain must be 1.5 times as many standard errors over documents; 0 turns all of it off.
        max_seconds: Leave out query maps for which less time would be left; the solution's warnings say which.
        ignore_identical_ids: A query never finds the document that has its id, as where queries are documents
            themselves (arguments, duplicate questions, tickets). Labels stay as they are. Arrays have no ids: `solve`,
            `select` and `prepare` take ``ignored=`` rows instead.
        seed: For every sample.
        device: Where to compute; None for where the documents are.
        block_bytes: Bound on temporary memory, beside the labelled documents and the queries.
        progress: Show progress bars.

    Raises:
        InputError: If an option is out of range.

    Example:
        >>> Options(metric="mrr@5").measured.k
        5
    """

    method: str = "auto"
    metric: str = "ndcg@10"
    average: Literal["query", "document"] = "query"
    step: float | None = None
    unseen_weight: float = 0.0
    temperature: float | None = None
    graded: bool = False
    negative_weight: float | None = None
    refit: bool = True
    max_queries: int = 4096
    normalize_queries: bool = True
    shift: bool = False
    standard_errors: float = 2.0
    max_seconds: float | None = None
    ignore_identical_ids: bool = False
    seed: int = 0
    device: str | torch.device | None = None
    block_bytes: int = 128 << 20
    progress: bool = False

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if self.method not in METHODS:
            raise InputError(f"unknown method {self.method!r}; expected one of {', '.join(METHODS)}")
        if self.average not in ("query", "document"):
            raise InputError(f"average must be 'query' or 'document'; got {self.average!r}")
        for name, low, high in (
            ("step", 0.0, float(np.finfo(np.float32).max)),
            ("unseen_weight", 0.0, 1.0),
            ("temperature", 1e-3, 1e3),
            ("negative_weight", 0.0, 1e3),
            ("standard_errors", 0.0, np.inf),
            ("max_seconds", 0.0, np.inf),
        ):
            value = getattr(self, name)
            absent = value is None and name in ("step", "temperature", "negative_weight", "max_seconds")
            number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not absent and not (number and low <= value <= high):
                raise InputError(f"{name} must be a number between {low:g} and {high:g}; got {value!r}")
        for name in ("graded", "refit", "normalize_queries", "shift", "ignore_identical_ids", "progress"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise InputError(f"{name} must be True or False; got {getattr(self, name)!r}")
        if self.temperature is not None and self.method not in ("auto", "contrastive"):
            raise InputError(
                f"temperature= belongs to method='contrastive' or 'auto'; {self.method!r} takes no softmax"
            )
        for name, least in (("seed", 0), ("max_queries", 1), ("block_bytes", 1 << 16)):
            whole_number(getattr(self, name), name, least)
        parse_metric(self.metric)

    def changed(self, **changes: object) -> Options:
        """Return the options with some of them changed.

        Raises:
            InputError: If there is no such option, or one is out of range.
        """
        unknown = sorted(set(changes) - {field.name for field in fields(self)})
        if unknown:
            known = ", ".join(field.name for field in fields(self))
            raise InputError(f"unknown option {', '.join(map(repr, unknown))}; expected some of {known}")
        return replace(self, **changes)  # type: ignore[arg-type]  # checked above, and on construction

    @property
    def measured(self) -> Metric:
        """The metric."""
        return parse_metric(self.metric)

    @property
    def protects_unseen(self) -> bool:
        """Whether queries for documents that nobody labelled may lose next to nothing."""
        return self.method == "auto" and self.unseen_weight >= _PROTECTED_FROM

    @property
    def temperatures(self) -> tuple[float | None, ...]:
        """The temperatures to try; None is no softmax."""
        if self.method not in ("auto", "contrastive"):
            return (None,)
        if self.temperature is None:
            return (None, *TEMPERATURES)
        return (None, self.temperature) if self.method == "auto" else (self.temperature,)
