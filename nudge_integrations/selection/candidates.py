"""The names of what may be tried, and what they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nudge_integrations.errors import InputError

__all__ = ["CANDIDATES", "SINGLE_CANDIDATES", "Asked", "asked_for"]

CANDIDATES = ("nudge", "query-map", "query-map+nudge")

_MAPS = ("ridge", "iterated-ridge")
_NUDGES = ("nudge-n", "contrastive")

SINGLE_CANDIDATES = (*_MAPS, *(f"{query_map}+{nudge}" for query_map in _MAPS for nudge in _NUDGES))
"""The methods of solutions with a query map; each may be asked for by itself."""


@dataclass(frozen=True)
class Asked:
    """Which candidates are tried.

    Attributes:
        names: As they were asked for.
        nudge: Whether a nudge alone is one.
        map_alone: Whether a map alone is one.
        map_kinds: Which maps: ``"ridge"``, ``"iterated-ridge"``.
        pairs: Whether a nudge after a map is one.
        pair_method: The only nudge of a pair; None for that which is best alone.
    """

    names: tuple[str, ...]
    nudge: bool
    map_alone: bool
    map_kinds: tuple[str, ...]
    pairs: bool
    pair_method: str | None

    @property
    def maps(self) -> bool:
        """Whether any map is tried."""
        return self.map_alone or self.pairs


def asked_for(candidates: Sequence[str]) -> Asked:
    """Read names of candidates.

    Raises:
        InputError: If one is unknown, there is none, or a single one is given beside others.

    Example:
        >>> asked_for(["ridge+nudge-n"]).pair_method
        'nudge-n'
    """
    names = (candidates,) if isinstance(candidates, str) else tuple(candidates)
    unknown = sorted(set(names) - {*CANDIDATES, *SINGLE_CANDIDATES})
    if unknown or not names:
        known = ", ".join((*CANDIDATES, *SINGLE_CANDIDATES))
        raise InputError(f"unknown candidates {unknown}; expected some of {known}")
    others = [name for name in names if name != "nudge"]
    if len(others) > 1 and set(others) & set(SINGLE_CANDIDATES):
        raise InputError(
            f"{', '.join(others)} cannot be told apart in one call: give one single candidate, or some of "
            f"{', '.join(CANDIDATES)}"
        )
    parts = [name.split("+") for name in others]
    kinds = {part[0] for part in parts}
    nudges = {part[1] for part in parts if len(part) > 1}
    return Asked(
        names,
        "nudge" in names,
        any(len(part) == 1 for part in parts),
        _MAPS if "query-map" in kinds else tuple(kind for kind in _MAPS if kind in kinds),
        bool(nudges),
        None if "nudge" in nudges or len(nudges) != 1 else next(iter(nudges)),
    )
