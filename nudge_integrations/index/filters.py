"""Filters by metadata: what may be asked, and the test of one document's metadata that it amounts to.

    {"language": "en"}                                        a value that must be there
    {"year": {"$gte": 2020}, "kind": {"$in": ["a", "b"]}}     operators; all of them must hold
    {"$or": [{"year": 2020}, {"$not": {"language": "en"}}]}   filters joined
    lambda metadata: metadata.get("year", 0) > 2020           any function

The operators are those of Chroma and MongoDB, as LangChain's self-query translators write them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from nudge_integrations.errors import InputError

__all__ = ["Filter", "metadata_test"]

Test: TypeAlias = Callable[[Mapping[str, Any]], bool]
Filter: TypeAlias = Mapping[str, Any] | Test

_ABSENT = object()

# Operators that compare the value in the metadata with the filter's; a key that is absent passes those of _NEGATIVE.
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$in": lambda value, choices: value in choices,
    "$nin": lambda value, choices: value not in choices,
    "$contains": lambda value, part: part in value,
    "$not_contains": lambda value, part: part not in value,
}
_NEGATIVE = ("$ne", "$nin", "$not_contains")
_OF_SOMETHING = ("$gt", "$gte", "$lt", "$lte", "$contains", "$not_contains")
_OF_VALUES = (*_COMPARISONS, "$exists", "$not")
_OF_FILTERS = ("$and", "$or", "$not")


def metadata_test(where: Filter | None) -> Test | None:
    """Return the function that says whether metadata pass a filter; None where everything passes.

    A value must be equal; a mapping whose keys begin with ``$`` holds operators, all of which must hold. A key that is
    absent passes ``$ne``, ``$nin``, ``$not_contains`` and ``{"$exists": False}`` alone. None is neither larger nor
    smaller than anything, and contains nothing.

    Args:
        where: A mapping of keys to values or operators, or a function of the metadata; None for no filter.

    Raises:
        InputError: If it is neither, or an operator is unknown or has an operand that it cannot take; on testing, if a
            value cannot be compared with the filter's.

    >>> recent = metadata_test({"year": {"$gte": 2020}})
    >>> recent({"year": 2024}), recent({"year": 2019}), recent({})
    (True, False, False)
    """
    if where is None or callable(where):
        return where
    if not isinstance(where, Mapping):
        raise InputError(
            f"a filter is a mapping or a function of the metadata; got {type(where).__name__}: "
            "give {key: value}, {key: {'$gte': value}} or a function"
        )
    return _every([_joined(key, value) if _is_operator(key) else _of_key(key, value) for key, value in where.items()])


def _joined(name: str, operand: Any) -> Test:
    """Build the test of ``$and``, ``$or`` or ``$not`` over other filters."""
    if name not in _OF_FILTERS:
        raise InputError(
            f"unknown operator {name!r} in a filter; expected one of {', '.join(_OF_FILTERS)}, or the key of a value"
        )
    if name == "$not":
        return _negated(_required(operand, name))
    if isinstance(operand, str | Mapping) or not isinstance(operand, Sequence) or not len(operand):
        raise InputError(f"{name} takes a list of filters, at least one; got {operand!r}")
    tests = [_required(part, name) for part in operand]
    return _every(tests) if name == "$and" else lambda metadata: any(test(metadata) for test in tests)


def _of_key(key: str, condition: Any) -> Test:
    """Build the test of one key: of equality, or of operators."""
    if not isinstance(condition, Mapping) or not any(map(_is_operator, condition)):
        return _compared(key, "$eq", condition)
    return _every([_of_value(key, name, operand) for name, operand in condition.items()])


def _of_value(key: str, name: str, operand: Any) -> Test:
    if name not in _OF_VALUES:
        raise InputError(f"unknown operator {name!r} for {key!r} in a filter; expected one of {', '.join(_OF_VALUES)}")
    if name == "$not":
        return _negated(_of_key(key, operand))
    if name == "$exists":
        if not isinstance(operand, bool):
            raise InputError(f"$exists for {key!r} takes True or False; got {operand!r}")
        return lambda metadata: (key in metadata) is operand
    if name in ("$in", "$nin") and (isinstance(operand, str | Mapping) or not hasattr(operand, "__contains__")):
        raise InputError(f"{name} for {key!r} takes a list of values; got {operand!r}")
    return _compared(key, name, operand)


def _compared(key: str, name: str, operand: Any) -> Test:
    compare = _COMPARISONS[name]

    def test(metadata: Mapping[str, Any]) -> bool:
        value = metadata.get(key, _ABSENT)
        if value is _ABSENT or (value is None and name in _OF_SOMETHING):
            return name in _NEGATIVE
        try:
            return bool(compare(value, operand))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"the filter {key!r} {name} {operand!r} cannot be applied to the value {value!r} ({error}): "
                "give a value of the same kind, or a function of the metadata"
            ) from error

    return test


def _required(part: Any, name: str) -> Test:
    test = metadata_test(part)
    if test is None:
        raise InputError(f"{name} takes filters; got None")
    return test


def _every(tests: Sequence[Test]) -> Test:
    return lambda metadata: all(test(metadata) for test in tests)


def _negated(test: Test) -> Test:
    return lambda metadata: not test(metadata)


def _is_operator(key: object) -> bool:
    return isinstance(key, str) and key.startswith("$")
