"""A report as Markdown, LaTeX and CSV. Whatever a query says stays text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nudge_integrations.evaluation.report.feedback_weeks import weeks_sheet
from nudge_integrations.evaluation.report.sheets import (
    Sheet,
    breakdown_sheets,
    headline,
    losers_without_labels,
    metrics_sheet,
    movers_sheet,
    surroundings,
)
from nudge_integrations.evaluation.report.wording import MINUS, MISSING, shortened

if TYPE_CHECKING:
    from nudge_integrations.evaluation.report.contents import Contents

__all__ = ["to_csv", "to_latex", "to_markdown"]

_MOVERS, _LONGEST = 5, 120
_LATEX = {
    **{sign: f"\\{sign}" for sign in "#$%&_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{"→": r"$\to$", "°": r"$^\circ$", MINUS: "$-$", MISSING: "--"},
}


def to_markdown(contents: Contents) -> str:
    """Return headings, sentences and pipe tables."""
    blocks = [f"# {_markdown(contents.title)}", headline(contents), *losers_without_labels(contents)]
    blocks.append(_markdown_table(metrics_sheet(contents)))
    for title, sheet in breakdown_sheets(contents):
        blocks += [f"## {title}", _markdown_table(sheet)]
    blocks += ["## Queries", _markdown_table(movers_sheet(contents, _MOVERS))]
    if sentences := surroundings(contents):
        blocks += ["## What moved", _markdown_list(sentences)]
    if contents.feedback:
        blocks += ["## Feedback over time", _markdown_table(weeks_sheet(contents.feedback))]
    blocks += ["## Card", "\n".join(f"- **{_markdown(label)}**: {_markdown(text)}" for label, text in contents.card)]
    blocks += ["## Limits", _markdown_list(contents.limits)]
    return "\n\n".join(blocks) + "\n"


def to_latex(contents: Contents) -> str:
    """Return tables for the booktabs package."""
    sheets = [(contents.title, metrics_sheet(contents)), *breakdown_sheets(contents)]
    return "\n".join(_latex_table(title, sheet) for title, sheet in sheets)


def to_csv(contents: Contents) -> str:
    """Return one row a query: ids, text, ranks, and every metric before and after in [0, 1]."""
    out = io.StringIO(newline="")
    write = csv.writer(out)
    metrics = [one.metric for one in contents.differences]
    figures = [f"{metric}_{side}" for metric in metrics for side in ("before", "after")]
    write.writerow(["query_id", "text", "document_id", "old_rank", "new_rank", *figures])
    for row in contents.queries:
        values = [value for pair in zip(row.before, row.after, strict=True) for value in pair]
        named = [_cell(text) for text in (row.query_id, row.text, row.document_id)]
        write.writerow([*named, row.old_rank, row.new_rank, *values])
    return out.getvalue()


def _cell(text: str | None) -> str | None:
    """Return a text that a spreadsheet takes for text: one that starts as a formula does gets an apostrophe."""
    return f"'{text}" if text and text[0] in "=+-@\t\r" else text


def _markdown_table(sheet: Sheet) -> str:
    lines = [sheet.head, tuple("---" if not column else "--:" for column in range(len(sheet.head))), *sheet.rows]
    cells = [
        " | ".join(_markdown(shortened(cell, _LONGEST)) for cell in line) if at != 1 else " | ".join(line)
        for at, line in enumerate(lines)
    ]
    return f"{sheet.caption}\n\n" + "\n".join(f"| {line} |" for line in cells)


def _markdown_list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {_markdown(sentence)}" for sentence in sentences)


def _markdown(text: str) -> str:
    """Escape what Markdown, or HTML inside it, would take for markup."""
    return re.sub(r"([\\`*_\[\]|<>#~])", r"\\\1", " ".join(text.split()).replace("&", "&amp;"))


def _latex_table(title: str, sheet: Sheet) -> str:
    lines = [" & ".join(_latex(cell) for cell in line) + r" \\" for line in (sheet.head, *sheet.rows)]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_latex(title)}. {_latex(sheet.caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(sheet.head) - 1)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))
