"""Whole numbers that count something: how many results, which seed."""

from __future__ import annotations

import operator

from nudge_integrations.errors import InputError

__all__ = ["whole_number"]


def whole_number(value: object, name: str, least: int = 1) -> int:
    """Return a whole number of any type as an int.

    Args:
        value: The number.
        name: What to call it in messages.
        least: The smallest that is allowed.

    Raises:
        InputError: If it is no whole number, or smaller than ``least``.

    >>> whole_number(3, "k")
    3
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # whatever is no whole number raises
    except TypeError as error:
        raise InputError(f"{name} must be a whole number; got {value!r}") from error
    if number < least:
        raise InputError(f"{name} must be at least {least}; got {number}")
    return number
