"""The card of what was fitted: from what, how, when, and what its figures do not say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nudge_integrations.artifact import Nudge
from nudge_integrations.evaluation.report.wording import metric_name, step_text

if TYPE_CHECKING:
    from nudge_integrations.evaluation.comparison import Comparison
    from nudge_integrations.solver import Solution

__all__ = ["card", "limits", "title_of"]

_FEW_QUERIES = 100
_SHORT_HASH = 12


def card(
    fitted: Nudge | Solution, comparison: Comparison, documents: int | None, details: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """List what is known about a fit and its comparison: label, value.

    Args:
        fitted: What was fitted.
        comparison: How it compares with the base vectors.
        documents: How many documents there are, if that is known.
        details: Lines of the user's own, which come first.
    """
    moved = len(fitted.vectors)
    lines = {
        **details,
        "Documents": None if documents is None else f"{documents:,}",
        "Documents moved": f"{moved:,}" + (f" ({moved / documents:.1%})" if documents else ""),
        "Test queries": f"{comparison.queries:,}",
        "Method": fitted.method,
        "Step": step_text(fitted.method, fitted.step),
        "Temperature": None if fitted.temperature is None else f"{fitted.temperature:g}",
        "Chosen by": f"{metric_name(fitted.metric)}, {fitted.protocol}, {fitted.queries:,} queries",
        "Outcome": f"{fitted.status.replace('_', ' ')}: {fitted.reason}",
        "Queries": None if fitted.query_map is None else "mapped by a matrix that the nudge holds",
        "Other documents": None if fitted.shift is None else "shifted by one vector that the nudge holds",
        "Ranked by": "cosine similarity" if fitted.similarity == "cosine" else "inner product (lengths matter)",
        **(_provenance(fitted) if isinstance(fitted, Nudge) else {}),
        "Intervals": f"{comparison.confidence:.0%}, {comparison.resamples:,} resamples, seed {comparison.seed}",
    }
    return tuple((label, _for_others(value)) for label, value in lines.items() if value)


def title_of(fitted: Nudge | Solution, details: Mapping[str, str]) -> str:
    """Say what the report is about: the data and the date, where they are known."""
    data = _for_others(details["Data"]) if "Data" in details else ""
    day = fitted.created[:10] if isinstance(fitted, Nudge) else ""
    about = " ".join(part for part in (data, f"({day})" if day else "") if part)
    return f"What the nudge changed: {about}" if about else "What the nudge changed"


def _for_others(value: str) -> str:
    """Return a value without the folders of this machine, and hashes cut to what tells them apart."""
    if re.fullmatch(r"(?:[A-Za-z]:)?[~.]{0,2}[/\\\\].*", value):
        value = Path(value.replace("\\", "/")).name
    return re.sub(rf"\b([0-9a-f]{{{_SHORT_HASH}}})[0-9a-f]{{8,}}\b", r"\1", value)


def _provenance(nudge: Nudge) -> dict[str, str | None]:
    held_out = nudge.validation_hash
    return {
        "Encoder": nudge.encoder,
        "Training data": f"sha256 {nudge.dataset_hash[:_SHORT_HASH]}" if nudge.dataset_hash else None,
        "Validation data": f"sha256 {held_out[:_SHORT_HASH]}" if held_out else None,
        "Versions": ", ".join(f"{package} {version}" for package, version in nudge.versions.items()),
        "Made": nudge.created,
    }


def limits(fitted: Nudge | Solution, comparison: Comparison) -> tuple[str, ...]:
    """Say what the figures do not, a sentence each."""
    return (*_limits_of_fit(fitted), *_limits_of_test(comparison))


def _limits_of_fit(fitted: Nudge | Solution) -> Iterator[str]:
    yield from (f"{warning[:1].upper()}{warning[1:].rstrip('.')}." for warning in fitted.warnings)
    if fitted.status == "no_gain":
        yield "Nothing gained beyond noise when the step was chosen, so no document moved."
    if fitted.similarity == "dot":
        yield "Lengths of the moved vectors matter: a store that ranks by cosine would rank them wrongly."
    if isinstance(fitted, Nudge) and fitted.ambiguous_texts:
        yield (f"{len(fitted.ambiguous_texts):,} texts are shared by documents that moved apart; only ids tell these.")


def _limits_of_test(comparison: Comparison) -> Iterator[str]:
    if comparison.queries < _FEW_QUERIES:
        yield f"Only {comparison.queries:,} test queries: intervals are wide, and rare kinds of query are not there."
    if not comparison.breakdowns:
        yield "It was not measured how queries fare whose documents nobody labelled."
    yield (
        "The figures hold for queries like the tested ones, for this corpus and this encoder; a document that nobody "
        "labelled for a query counts as wrong."
    )
