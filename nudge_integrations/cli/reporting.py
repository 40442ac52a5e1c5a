"""A run folder -> its report, and the report -> a file of the form that the file's name says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nudge_integrations.cli.evaluation import Statistics, compare_run_folder
from nudge_integrations.dataset.files import write_atomically
from nudge_integrations.errors import InputError
from nudge_integrations.evaluation import drift
from nudge_integrations.evaluation.report import Report
from nudge_integrations.evaluation.report import report as make_report

if TYPE_CHECKING:
    from nudge_integrations.evaluation import RunFolder

__all__ = ["check_name", "report_of", "write_report"]

_WRITERS = {
    ".html": Report.to_html,
    ".md": Report.to_markdown,
    ".tex": Report.to_latex,
    ".csv": Report.to_csv,
    ".json": Report.to_json,
}

# The card's label -> the key in result.json.
_DETAILS = {"Data": "dataset", "Split": "split", "Model": "encoder"}


def check_name(path: Path | None) -> None:
    """Refuse a name that says no form, before the work.

    Raises:
        InputError: If it ends otherwise than a report can.
    """
    if path is not None and path.suffix not in _WRITERS:
        raise InputError(f"--output {path}: a report's name ends in {', '.join(_WRITERS)}")


def report_of(run: RunFolder, metrics: Sequence[str] | None, statistics: Statistics, title: str) -> Report:
    """Make the report of a run.

    Args:
        run: The run folder's content.
        metrics: Names with a cutoff, the first of which orders the queries; None takes those of the fit.
        statistics: How to compare.
        title: Its heading.
    """
    comparison = compare_run_folder(run, metrics or list(run.result["before"]), statistics)
    moved = drift(run.nudge, run.test.document_ids, run.documents, before=comparison.before, after=comparison.after)
    known = {name: str(run.result[key]) for name, key in _DETAILS.items() if key in run.result}
    return make_report(
        comparison,
        run.nudge,
        documents=run.documents,
        queries=run.queries,
        drift=moved,
        title=title,
        details=known,
        seed=statistics.seed,
    )


def write_report(report: Report, path: Path) -> None:
    """Write a report in the form that the file's name says; the file appears whole or not at all."""
    write_atomically(path, [_WRITERS[path.suffix](report)])
