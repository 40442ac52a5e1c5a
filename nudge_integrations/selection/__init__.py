"""Choose among nudged documents, mapped queries, both, and nothing, each evaluated out of sample.

    prepared -> nudges, query maps, pairs -> evaluated out of sample -> confirmed -> the best -> Solution
                (compared on pools)          and out of their topic     (exactly)

`select` is the one call: arrays or a prepared corpus in, arrays out, like `solve`, on which it stands.
"""

from nudge_integrations.selection.candidates import CANDIDATES, SINGLE_CANDIDATES
from nudge_integrations.selection.selecting import select

__all__ = ["CANDIDATES", "SINGLE_CANDIDATES", "select"]
