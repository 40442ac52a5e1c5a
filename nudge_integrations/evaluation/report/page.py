"""A report as one HTML page: style, script, pictures and data inside, nothing from anywhere else."""

from __future__ import annotations

import base64
import hashlib
import math
from importlib import resources
from typing import TYPE_CHECKING

from nudge_integrations.evaluation.report.elements import Element, element, remark, render
from nudge_integrations.evaluation.report.feedback_weeks import weeks_chart, weeks_sheet
from nudge_integrations.evaluation.report.figures import (
    angles_chart,
    candidates_chart,
    changes_chart,
    curve_chart,
    projection_chart,
    says_nothing,
)
from nudge_integrations.evaluation.report.movers import movers_lists
from nudge_integrations.evaluation.report.query_table import query_table
from nudge_integrations.evaluation.report.sheets import (
    breakdown_sheets,
    headline,
    losers_without_labels,
    metrics_sheet,
    surroundings,
)
from nudge_integrations.evaluation.report.tables import Span, html_table, shared_span
from nudge_integrations.evaluation.report.wording import interval, metric_name, percent, points

if TYPE_CHECKING:
    from nudge_integrations.evaluation.report.contents import Contents

__all__ = ["asset", "figures", "to_page"]


def to_page(contents: Contents) -> str:
    """Return the whole page."""
    span = shared_span([metrics_sheet(contents), *(sheet for _, sheet in breakdown_sheets(contents))])
    sections = [
        ("result", "Result", _result(contents, span)),
        ("movers", "Who gained most, who lost most", movers_lists(contents)),
        ("figures", "How far, and what was tried", figures(contents)),
        ("groups", "Where it holds", _groups(contents, span)),
        ("movement", "What moved", _movement(contents)),
        ("feedback", "Feedback over time", _feedback(contents)),
        ("queries", "Every query", query_table(contents)),
        ("card", "Card", _card(contents)),
    ]
    filled = [section for section in sections if section[2]]
    body = element(
        "body",
        element("a", "Skip to the result", class_="skip", href="#result"),
        element(
            "header",
            element("h1", contents.title),
            element("button", "Theme", type="button", id="theme", hidden=""),
            element("nav", *(element("a", title, href=f"#{name}") for name, title, _ in filled), aria_label="Sections"),
        ),
        element("main", *(_section(name, title, parts) for name, title, parts in filled)),
        element("footer", "Made by nudge-integrations. This page loads nothing from anywhere."),
    )
    return "<!doctype html>\n" + render(element("html", _head(contents.title), body, lang="en")) + "\n"


def asset(name: str) -> str:
    """Return the text of a file beside this module."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def figures(contents: Contents) -> list[Element]:
    """Build the pictures of the step and of the queries' changes."""
    first = contents.differences[0]
    built = []
    if curve := contents.curve:
        shown = f"{metric_name(curve.metric)} of {curve.queries:,} queries by {curve.protocol}, along the step."
        built.append(
            _figure(curve_chart(curve), f"{shown} The step was chosen by this curve, not by the test queries.")
        )
    changes = [row.change for row in contents.queries]
    text = f"Change of {metric_name(first.metric)} for each of {len(changes):,} test queries: {first.wins:,} better, "
    built.append(
        _figure(changes_chart(changes, first.metric), f"{text}{first.losses:,} worse, {first.ties:,} the same.")
    )
    if sum(math.isfinite(one.error) for one in contents.candidates) > 1:
        text = (
            "Gain of every candidate over doing nothing, out of sample, with two standard errors; of words, over the "
            "best without them. Filled: the fit."
        )
        built.append(_figure(candidates_chart(contents.candidates), text))
    return built


def _head(title: str) -> Element:
    style, script = asset("page.css"), asset("page.js")
    # Only this style and this script may act, whatever the texts hold.
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", style),
        element("script", script),
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _section(name: str, title: str, parts: list[Element]) -> Element:
    return element(
        "section", element("h2", title, id=f"{name}-title"), *parts, id=name, aria_labelledby=f"{name}-title"
    )


def _figure(chart: Element, caption: str, more: Element | None = None) -> Element:
    return element("figure", chart, element("figcaption", caption, more))


def _result(contents: Contents, span: Span) -> list[Element]:
    first = contents.differences[0]
    certain = first.p_adjusted < 1 - contents.confidence
    direction = None if not certain else "gain-text" if first.difference > 0 else "loss-text"
    name = metric_name(first.metric)
    between = f"{contents.confidence:.0%} interval {interval(first.low, first.high)}"
    queries = f"of {len(contents.queries):,}; {first.ties:,} the same"
    tiles = [
        ("Before", percent(first.before), f"{name}, percent", None),
        ("After", percent(first.after), f"{name}, percent", None),
        ("Change in points", points(first.difference), between, direction),
        ("Queries better / worse", f"{first.wins:,} / {first.losses:,}", queries, None),
    ]
    built = [
        element("div", element("dt", name), element("dd", figure, class_=colour), element("dd", unit, class_="unit"))
        for name, figure, unit, colour in tiles
    ]
    method = (
        f"Intervals by paired bootstrap and p-values by randomisation, {contents.resamples:,} resamples each; p-values "
        f"are corrected for the number of tests (Holm). A filled dot: p below {1 - contents.confidence:.2g}."
    )
    return [
        element("p", headline(contents), class_="headline"),
        *(element("p", sentence, class_="losers") for sentence in losers_without_labels(contents)),
        element("dl", *built, class_="tiles"),
        html_table(metrics_sheet(contents), 1 - contents.confidence, span),
        element("p", method, class_="note"),
    ]


def _groups(contents: Contents, span: Span) -> list[Element]:
    return [
        part
        for title, sheet in breakdown_sheets(contents)
        for part in (element("h3", title), html_table(sheet, 1 - contents.confidence, span))
    ]


def _movement(contents: Contents) -> list[Element]:
    built = []
    empty = says_nothing(contents)
    sentences = [element("li", sentence) for sentence in surroundings(contents)]
    if contents.angles and "angles" not in empty:
        text = f"Angle that each of the {len(contents.angles):,} moved documents turned by."
        built.append(_figure(angles_chart(contents.angles), text, element("ul", *sentences) if sentences else None))
    elif contents.angles:
        turned = f"All {len(contents.angles):,} moved documents turned by {math.degrees(max(contents.angles)):.1f}°."
        built.append(element("ul", element("li", turned), *sentences, class_="sentences"))
    built += [remark(f"left out, {name}: {reason}") for name, reason in empty.items()]
    if (seen := contents.projection) and "projection" not in empty:
        documents, moved, queries = seen.totals
        legend = (
            f"Dots: {len(seen.corpus):,} of {documents:,} documents before. Arrows: {len(seen.arrows):,} of {moved:,} "
            f"moved documents, from old to new place. Diamonds: {len(seen.queries):,} of {queries:,} queries. A flat "
            "picture of many dimensions: what is near here need not be near there."
        )
        built.append(_figure(projection_chart(seen), legend))
    return built


def _feedback(contents: Contents) -> list[Element]:
    if not contents.feedback:
        return []
    drawn, table = weeks_chart(contents.feedback), html_table(weeks_sheet(contents.feedback))
    return (
        [table] if drawn is None else [_figure(drawn, "Yes and clicks of each week above the line, no below."), table]
    )


def _card(contents: Contents) -> list[Element]:
    lines = [element("div", element("dt", label), element("dd", value)) for label, value in contents.card]
    sentences = [element("li", sentence) for sentence in contents.limits]
    built = [element("dl", *lines, class_="card")] if lines else []
    return built + ([element("h3", "Limits"), element("ul", *sentences)] if sentences else [])
