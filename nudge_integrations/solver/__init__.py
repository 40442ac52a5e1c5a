"""Arrays or a prepared corpus in, arrays out: where labelled documents should move, and how far.

    labels -> prepare -> direction -> path -> step -> Solution
              (once)     (where to)   (how)   (how far)

`solve` is the one call; it knows neither ids nor text nor frameworks.
"""

from nudge_integrations.solver.curve import Curve
from nudge_integrations.solver.options import METHODS, Options, OptionValues
from nudge_integrations.solver.prepare import Prepared, prepare
from nudge_integrations.solver.solution import Candidate, PerQuery, Solution, table_of
from nudge_integrations.solver.solving import solve

__all__ = [
    "METHODS",
    "Candidate",
    "Curve",
    "OptionValues",
    "Options",
    "PerQuery",
    "Prepared",
    "Solution",
    "prepare",
    "solve",
    "table_of",
]
