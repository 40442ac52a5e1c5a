"""Everything that can help, and an honest choice: nudged documents, adapted queries, both in either order, or nothing.

    labels -> candidates -> judged out of sample -> the best, if it beats doing nothing -> Solution
                            and out of their topic

`select` is the one call: arrays in, arrays out, like `solve`, on which it stands.
"""

from nudge_integrations.selection.candidates import CANDIDATES
from nudge_integrations.selection.selecting import select

__all__ = ["CANDIDATES", "select"]
