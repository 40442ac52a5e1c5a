"""Arrays in, arrays out: where labelled documents should move, and how far.

    labels -> direction -> path -> search -> Solution
              (where to)   (how)   (how far)

`solve` is the one call; it knows neither ids nor text nor frameworks.
"""

from nudge_integrations.solver._solution import Candidate, Curve, Solution
from nudge_integrations.solver._solve import METHODS, solve

__all__ = ["METHODS", "Candidate", "Curve", "Solution", "solve"]
