"""How good a ranking is, query by query; what changed from one to another; and how far documents moved for it.

dataset + run or retriever -> evaluate -> Evaluation: means, and the value of every query
two of them -> compare -> Comparison: differences with intervals and tests, queries that moved, where it holds
nudge + base vectors -> drift -> Drift: angles, neighbours that stayed, ranks that documents lost without moving
a fit with its labels, rankings and vectors <-> RunFolder; a ranking <-> a TREC or JSON file by read_run, write_run
"""

from nudge_integrations.evaluation.breakdown import Breakdown, Group
from nudge_integrations.evaluation.comparison import Comparison, compare
from nudge_integrations.evaluation.drift import Drift, UnmovedRanks, drift
from nudge_integrations.evaluation.metrics import DEFAULT_METRICS, Evaluation, evaluate
from nudge_integrations.evaluation.movement import MovedQuery
from nudge_integrations.evaluation.rankings import Run
from nudge_integrations.evaluation.run_files import read_run, write_run
from nudge_integrations.evaluation.run_folder import RunFolder
from nudge_integrations.evaluation.significance import Difference

__all__ = [
    "DEFAULT_METRICS",
    "Breakdown",
    "Comparison",
    "Difference",
    "Drift",
    "Evaluation",
    "Group",
    "MovedQuery",
    "Run",
    "RunFolder",
    "UnmovedRanks",
    "compare",
    "drift",
    "evaluate",
    "read_run",
    "write_run",
]
