"""Choose among nudged documents, adapted queries, both in either order, and nothing, each evaluated out of sample.

    labels -> candidates -> evaluated out of sample -> the best, if it beats doing nothing -> Solution
                            and out of their topic

`select` is the one call: arrays in, arrays out, like `solve`, on which it stands.
"""

from nudge_integrations.selection.candidates import CANDIDATES
from nudge_integrations.selection.selecting import select

__all__ = ["CANDIDATES", "select"]
