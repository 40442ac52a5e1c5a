"""Labels over time: the log in which a nudge keeps them.

dataset, feedback -> LabelLog (labels.jsonl beside the nudge) -> the dataset of the next fit
"""

from nudge_integrations.feedback.label_log import LabelLog
from nudge_integrations.feedback.label_records import LoggedFit, LoggedLabel

__all__ = ["LabelLog", "LoggedFit", "LoggedLabel"]
