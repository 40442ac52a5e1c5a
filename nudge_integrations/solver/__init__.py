"""Arrays in, arrays out: where labelled documents should move, and how far.

    labels -> direction -> path -> search -> Solution
              (where to)   (how)   (how far)

`solve` is the one call; it knows neither ids nor text nor frameworks.
"""

from nudge_integrations.solver._plan import METHODS
from nudge_integrations.solver._solution import Candidate, Curve, PerQuery, Solution, table_of
from nudge_integrations.solver._solve import solve

__all__ = ["METHODS", "Candidate", "Curve", "PerQuery", "Solution", "solve", "table_of"]
