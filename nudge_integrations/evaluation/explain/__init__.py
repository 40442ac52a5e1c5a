"""Why a fit does what it does: one query before and after, one document's pulls, and what more labels would buy.

    comparison, query id ------------> explain_query ----> QueryChange     ranks and texts before and after
    nudge, labels, query vectors ----> explain_document -> DocumentPulls   which queries moved a document, and how far
    labels, test labels, vectors ----> learning_curve ---> LearningCurve   gain against labels; what 200 more would buy
    labels, vectors -----------------> label_next -------> document ids    where the next labels say most

A notebook shows each of them as a picture or a table; ``print`` shows it as text.
"""

from nudge_integrations.evaluation.explain.documents import DocumentPulls, Pull, explain_document
from nudge_integrations.evaluation.explain.learning import Forecast, LearningCurve, learning_curve
from nudge_integrations.evaluation.explain.next_labels import label_next
from nudge_integrations.evaluation.explain.queries import QueryChange, RankedDocument, explain_query

__all__ = [
    "DocumentPulls",
    "Forecast",
    "LearningCurve",
    "Pull",
    "QueryChange",
    "RankedDocument",
    "explain_document",
    "explain_query",
    "label_next",
    "learning_curve",
]
