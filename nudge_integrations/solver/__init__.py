"""Arrays in, arrays out: where labelled documents should move, and how far.

    labels -> direction -> path -> curve -> Solution
              (where to)   (how)   (how far)

`solve` is the one call; it knows neither ids nor text nor frameworks.
"""

from nudge_integrations.solver.nudging import solve
from nudge_integrations.solver.options import METHODS
from nudge_integrations.solver.solution import Candidate, Curve, PerQuery, Solution, table_of

__all__ = ["METHODS", "Candidate", "Curve", "PerQuery", "Solution", "solve", "table_of"]
