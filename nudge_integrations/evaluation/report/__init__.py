"""The changes that a fit made, for people: figures with intervals, pictures, every query, and the artifact's card.

comparison + solution or nudge -> report -> Report: to_html, to_markdown, ...; save; a terminal or notebook shows it
"""

from nudge_integrations.evaluation.report.assembly import report
from nudge_integrations.evaluation.report.contents import CandidateRow, Projection, QueryRow, StepCurve
from nudge_integrations.evaluation.report.renderings import Report

__all__ = ["CandidateRow", "Projection", "QueryRow", "Report", "StepCurve", "report"]
