"""Feedback of users, from any log, as labels: thumbs, clicks weighted by position, judgement lists, corrections.

    logs ── readers ──> Feedback ── labels(corpus) ──> dataset and weights ──> fit(labels, encoder)
    applications ── FeedbackLog.record, .shown ──> lines ──> readers
    dataset, labels that come later ──> LabelLog (labels.jsonl beside the nudge) ──> the dataset of the next fit

Needs no client of any tracer. What cannot be used is counted and named, and never guessed.
"""

from nudge_integrations.feedback.clicks import PositionWeights, Shown
from nudge_integrations.feedback.feedback import Feedback, FeedbackLabels, Verdict
from nudge_integrations.feedback.feedback_log import FeedbackLog, served_by
from nudge_integrations.feedback.given_labels import feedback_unwrapped, labels_and_weights
from nudge_integrations.feedback.judgements import from_judgements
from nudge_integrations.feedback.label_log import LabelLog
from nudge_integrations.feedback.label_records import LoggedFit, LoggedLabel
from nudge_integrations.feedback.lines import from_lines
from nudge_integrations.feedback.reading import FORMS, is_feedback, read_feedback
from nudge_integrations.feedback.traces import from_langfuse, from_langsmith, from_phoenix
from nudge_integrations.feedback.ubi import from_ubi
from nudge_integrations.feedback.weeks import FeedbackWeek, by_week

__all__ = [
    "FORMS",
    "Feedback",
    "FeedbackLabels",
    "FeedbackLog",
    "FeedbackWeek",
    "LabelLog",
    "LoggedFit",
    "LoggedLabel",
    "PositionWeights",
    "Shown",
    "Verdict",
    "by_week",
    "feedback_unwrapped",
    "from_judgements",
    "from_langfuse",
    "from_langsmith",
    "from_lines",
    "from_phoenix",
    "from_ubi",
    "is_feedback",
    "labels_and_weights",
    "read_feedback",
    "served_by",
]
