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

# What a value in the metadata must be to the value of the filter. The text operators take texts alone.
_TESTS: Mapping[FilterOperator, Callable[[Any, Any], bool]] = {
    FilterOperator.EQ: operator.eq,
    FilterOperator.NE: operator.ne,
    FilterOperator.GT: operator.gt,
    FilterOperator.GTE: operator.ge,
    FilterOperator.LT: operator.lt,
    FilterOperator.LTE: operator.le,
    FilterOperator.IN: lambda found, wanted: found in wanted,
    FilterOperator.NIN: lambda found, wanted: found not in wanted,
    FilterOperator.CONTAINS: lambda found, wanted: wanted in found,
    FilterOperator.ANY: lambda found, wanted: any(value in found for value in wanted),
    FilterOperator.ALL: lambda found, wanted: all(value in found for value in wanted),
    FilterOperator.TEXT_MATCH: lambda found, wanted: wanted + "" in found + "",
    FilterOperator.TEXT_MATCH_INSENSITIVE: lambda found, wanted: wanted.lower() in found.lower(),
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


def _passes_one(wanted: MetadataFilter, found: Any) -> bool:
    if wanted.operator == FilterOperator.IS_EMPTY:
        return found is None or found in ("", [])
    if found is None:
        return wanted.operator in (FilterOperator.NE, FilterOperator.NIN)
    try:
        return bool(_TESTS[wanted.operator](found, wanted.value))
    except (TypeError, AttributeError) as error:
        raise InputError(
            f"the filter {wanted.key!r} {wanted.operator.value} {wanted.value!r} cannot be asked of {found!r} ({error})"
        ) from error
