"""Checks of a nudge's values that are no arrays: texts, figures, choices, and candidates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from nudge_integrations.errors import InputError

__all__ = ["FIGURES_OF_A_CANDIDATE", "check_values"]

FIGURES_OF_A_CANDIDATE = {
    "step": math.nan,
    "score": math.nan,
    "unseen_score": math.nan,
    "gain": math.nan,
    "standard_error": math.inf,
}
"""The figures of everything that was tried, and what each is where it was not measured."""


def check_values(values: Mapping[str, Any]) -> None:
    """Check every field of a nudge but its arrays.

    Raises:
        InputError: Names the first one that cannot be.
    """
    for names, fits, expected in _EXPECTED:
        for name in names:
            if not fits(values[name]):
                raise InputError(f"{name} must be {expected}; got {_shown(values[name])}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_figure(value: object) -> bool:
    """Tell whether a value is a number, not larger than floats are; NaN is one that was not measured."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _one_of(*choices: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in choices


def _or_none(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or fits(value)


def _all_of(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, Sequence) and not isinstance(value, str) and all(map(fits, value))


def _texts_to(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, Mapping) and all(map(_is_text, value)) and all(fits(entry) for entry in value.values())
    )


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0


def _is_candidate(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and {"method", "temperature", *FIGURES_OF_A_CANDIDATE} <= value.keys()
        and value.keys() <= {"method", "temperature", "queries", "exact", "note", *FIGURES_OF_A_CANDIDATE}
        and _is_text(value["method"])
        and all(_is_figure(value[name]) for name in FIGURES_OF_A_CANDIDATE)
        and _or_none(_is_figure)(value["temperature"])
        and _is_count(value.get("queries", 0))
        and isinstance(value.get("exact", True), bool)
        and _is_text(value.get("note", ""))
    )


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}..."


_EXPECTED: tuple[tuple[tuple[str, ...], Callable[[object], bool], str], ...] = (
    (("method", "metric", "reason", "encoder", "dataset_hash", "created"), _is_text, "a text"),
    (("validation_hash",), _or_none(_is_text), "a text or None"),
    (("ids", "text_hashes", "warnings"), _all_of(_is_text), "a sequence of texts"),
    (("similarity",), _one_of("cosine", "dot"), "'cosine' or 'dot'"),
    (("status",), _one_of("improved", "no_gain", "fixed"), "'improved', 'no_gain' or 'fixed'"),
    (("protocol",), _one_of("leave-one-out", "validation"), "'leave-one-out' or 'validation'"),
    (("step", "baseline", "score", "unseen_baseline", "unseen_score"), _is_figure, "a number"),
    (("temperature", "base_norm"), _or_none(_is_figure), "a number or None"),
    (("queries",), _is_count, "a number of queries"),
    (("ambiguous_texts",), _texts_to(_all_of(_is_text)), "a mapping of texts to sequences of ids"),
    (("versions",), _texts_to(_is_text), "a mapping of texts to texts"),
    (("candidates",), _all_of(_is_candidate), "a sequence of candidates, each with its figures"),
)
