"""How figures are written: metrics as papers spell them, in percent with one digit, and intervals with their sign."""

from __future__ import annotations

import math

__all__ = [
    "MINUS",
    "interval",
    "metric_name",
    "p_value",
    "percent",
    "points",
    "rank",
    "shortened",
    "step_text",
    "turns",
]

_NAMES = {"ndcg": "nDCG", "mrr": "MRR", "map": "MAP"}
_ANGLES = ("nudge-n", "contrastive")
MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"


def metric_name(metric: str) -> str:
    """Spell a metric as papers do.

    >>> metric_name("ndcg@10")
    'nDCG@10'
    """
    name, at, cutoff = metric.partition("@")
    return f"{_NAMES.get(name, name)}{at}{cutoff}"


def percent(value: float | None) -> str:
    """Write a metric in [0, 1] in percent.

    >>> percent(0.64537)
    '64.5'
    """
    return MISSING if value is None or math.isnan(value) else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    """Write a difference of metrics in percentage points, with its sign; what rounds to zero has none.

    >>> points(0.0673), points(-0.0001)
    ('+6.7', '0.0')
    """
    if value is None or math.isnan(value):
        return MISSING
    rounded = round(100 * value, 1)
    if rounded == 0:
        return "0.0"
    return f"{'+' if rounded > 0 else MINUS}{abs(rounded):.1f}"


def interval(low: float, high: float) -> str:
    """Write an interval of a difference.

    >>> interval(0.004, 0.093)
    '+0.4 to +9.3'
    """
    return f"{points(low)} to {points(high)}"


def p_value(value: float) -> str:
    """Write a p-value with the digits that resampling can give.

    >>> p_value(0.0321), p_value(0.00002), p_value(0.8)
    ('0.032', '< 0.001', '0.80')
    """
    if math.isnan(value):
        return MISSING
    if value < 0.001:
        return "< 0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def rank(value: int | None) -> str:
    """Write a rank; what is below all that was looked at has none.

    >>> rank(12), rank(None)
    ('12', 'not found')
    """
    return "not found" if value is None else f"{value:,}"


def angle(radians: float) -> str:
    """Write an angle in radians and degrees.

    >>> angle(0.3491)
    '0.349 rad (20.0°)'
    """
    return f"{radians:.3f} rad ({math.degrees(radians):.1f}°)"


def step_text(method: str, step: float) -> str:
    """Write a step with its unit.

    >>> step_text("nudge-n", 0.3491), step_text("nudge-m", 1.5)
    ('0.349 rad (20.0°)', '1.500 (length)')
    """
    return angle(step) if turns(method) else f"{step:.3f} (length)"


def turns(method: str) -> bool:
    """Return whether a method's step is an angle and not a length.

    >>> turns("ridge+nudge-n"), turns("nudge-m+n")
    (True, False)
    """
    return any(part in _ANGLES for part in method.split("+"))


def shortened(text: str, limit: int) -> str:
    """Put a text on one line of at most ``limit`` characters.

    >>> shortened("one  line of text", 10)
    'one line…'
    """
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
