"""LlamaIndex metadata filters as a test of one node's metadata."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from nudge_integrations.errors import InputError

__all__ = ["passes"]

_JOINS: Mapping[FilterCondition, Callable[[list[bool]], bool]] = {
    FilterCondition.AND: all,
    FilterCondition.OR: any,
    FilterCondition.NOT: lambda matches: not any(matches),
}

# Tests of a value in the metadata against the value of the filter. The text operators take texts alone.
_TESTS: Mapping[FilterOperator, Callable[[Any, Any], bool]] = {
    FilterOperator.EQ: operator.eq,
    FilterOperator.NE: operator.ne,
    FilterOperator.GT: operator.gt,
    FilterOperator.GTE: operator.ge,
    FilterOperator.LT: operator.lt,
    FilterOperator.LTE: operator.le,
    FilterOperator.IN: lambda value, target: value in target,
    FilterOperator.NIN: lambda value, target: value not in target,
    FilterOperator.CONTAINS: lambda value, target: target in value,
    FilterOperator.ANY: lambda value, target: any(item in value for item in target),
    FilterOperator.ALL: lambda value, target: all(item in value for item in target),
    FilterOperator.TEXT_MATCH: lambda value, target: target + "" in value + "",
    FilterOperator.TEXT_MATCH_INSENSITIVE: lambda value, target: target.lower() in value.lower(),
}


def passes(filters: MetadataFilters, metadata: Mapping[str, Any]) -> bool:
    """Tell whether metadata pass filters, as the framework's own store in memory reads them, and nested at will.

    A key that is absent passes ``!=``, ``nin`` and ``is_empty`` alone.

    Raises:
        InputError: If a value cannot be compared with the filter's.

    >>> from llama_index.core.vector_stores import MetadataFilter
    >>> english = MetadataFilters(filters=[MetadataFilter(key="language", value="en")])
    >>> passes(english, {"language": "en"}), passes(english, {"language": "de"})
    (True, False)
    """
    matches = [
        passes(part, metadata) if isinstance(part, MetadataFilters) else _passes_one(part, metadata.get(part.key))
        for part in filters.filters
    ]
    return not matches or _JOINS[filters.condition or FilterCondition.AND](matches)


def _passes_one(test: MetadataFilter, value: Any) -> bool:
    if test.operator == FilterOperator.IS_EMPTY:
        return value is None or value in ("", [])
    if value is None:
        return test.operator in (FilterOperator.NE, FilterOperator.NIN)
    try:
        return bool(_TESTS[test.operator](value, test.value))
    except (TypeError, AttributeError) as error:
        raise InputError(
            f"the filter {test.key!r} {test.operator.value} {test.value!r} cannot be applied to {value!r} ({error})"
        ) from error
