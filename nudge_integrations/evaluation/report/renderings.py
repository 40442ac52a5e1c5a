"""Report: the figures, and every way to show them. Each rendering is imported on first use."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from nudge_integrations.errors import InputError
from nudge_integrations.evaluation.report.contents import Contents
from nudge_integrations.storage import write_atomically

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Report"]


class Report(Contents):
    """The changes that a fit made, for people: in the terminal, in a notebook, as a page or as text.

    Its attributes are those of `Contents`. Frozen. A notebook shows it by itself, ``rich.print`` in a terminal.
    """

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it in the form that the file's name says: .html, .md, .tex, .csv or .json.

        Args:
            path: The file; what was there is replaced at once, or kept whole.

        Raises:
            InputError: If the name ends otherwise, or it cannot be written there.
        """
        self.check_target(path)
        # Half of a surrogate pair, which a query may hold, has no UTF-8.
        text = re.sub("[\ud800-\udfff]", "\ufffd", _RENDERINGS[Path(path).suffix](self))
        try:
            write_atomically(Path(path), [text])
        except OSError as error:
            raise InputError(f"the report cannot be written to {path} ({error.strerror}): give a file") from error

    @staticmethod
    def check_target(path: str | os.PathLike[str]) -> None:
        """Refuse a name that `save` would refuse, before the work.

        Raises:
            InputError: If the name ends otherwise.
        """
        if Path(path).suffix not in _RENDERINGS:
            raise InputError(f"{path}: the name of a report ends in {', '.join(_RENDERINGS)}")

    def to_html(self) -> str:
        """Return one page that needs nothing else: no network, readable in light and dark, on paper and on a phone."""
        from nudge_integrations.evaluation.report.page import to_page

        return to_page(self)

    def to_markdown(self) -> str:
        """Return Markdown with tables: the figures, the queries that moved most, and the card."""
        from nudge_integrations.evaluation.report.plain_text import to_markdown

        return to_markdown(self)

    def to_latex(self) -> str:
        r"""Return LaTeX tables of the figures; they need ``\usepackage{booktabs}``."""
        from nudge_integrations.evaluation.report.plain_text import to_latex

        return to_latex(self)

    def to_csv(self) -> str:
        """Return one row a query, with every metric before and after in [0, 1]."""
        from nudge_integrations.evaluation.report.plain_text import to_csv

        return to_csv(self)

    def to_json(self) -> str:
        """Return all figures as JSON; what was not measured is null."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def to_rich(self) -> RenderableType:
        """Return what a rich console prints.

        Raises:
            MissingExtraError: If rich is not installed.
        """
        from nudge_integrations.evaluation.report.terminal import to_rich

        return to_rich(self)

    def __rich__(self) -> RenderableType:
        return self.to_rich()

    def _repr_html_(self) -> str:
        from nudge_integrations.evaluation.report.notebook import to_fragment

        return to_fragment(self)

    def __repr__(self) -> str:
        first = self.differences[0]
        return f"Report({first.metric} {first.before:.4f} -> {first.after:.4f}, queries={len(self.queries)})"


_RENDERINGS = {
    ".html": Report.to_html,
    ".md": Report.to_markdown,
    ".tex": Report.to_latex,
    ".csv": Report.to_csv,
    ".json": Report.to_json,
}
