"""Everything that can help, and an honest choice: nudged documents, adapted queries, both in either order, or nothing.

    labels -> candidates -> judged out of sample -> the best, if it beats doing nothing -> Solution
                            and out of their topic

`solve_hybrid` is the one call: arrays in, arrays out, like `solve`, on which it stands.
"""

from nudge_integrations.hybrid._solve import solve_hybrid
from nudge_integrations.hybrid.candidates import CANDIDATES

__all__ = ["CANDIDATES", "solve_hybrid"]
