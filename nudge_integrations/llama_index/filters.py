"""LlamaIndex metadata filters as a test of one node's metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

__all__ = ["passes"]

_JOINS: Mapping[FilterCondition, Callable[[list[bool]], bool]] = {
    FilterCondition.AND: all,
    FilterCondition.OR: any,
    FilterCondition.NOT: lambda matches: not any(matches),
}


def passes(filters: MetadataFilters, metadata: Mapping[str, Any]) -> bool:
    """Tell whether metadata pass filters: each as the framework's own stores in memory read it, and nested at will.

    >>> from llama_index.core.vector_stores import MetadataFilter
    >>> english = MetadataFilters(filters=[MetadataFilter(key="language", value="en")])
    >>> passes(english, {"language": "en"}), passes(english, {"language": "de"})
    (True, False)
    """
    matches = [
        passes(part, metadata)
        if isinstance(part, MetadataFilters)
        else build_metadata_filter_fn(lambda _: metadata, MetadataFilters(filters=[part]))("")
        for part in filters.filters
    ]
    return not matches or _JOINS[filters.condition or FilterCondition.AND](matches)
