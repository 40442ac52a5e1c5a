"""How good a ranking is, query by query.

dataset + run or retriever -> evaluate -> Evaluation: means, and the value of every query
"""

from nudge_integrations.evaluation.metrics import DEFAULT_METRICS, Evaluation, Run, evaluate

__all__ = ["DEFAULT_METRICS", "Evaluation", "Run", "evaluate"]
