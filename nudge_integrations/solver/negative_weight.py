"""How much a no counts beside a yes: chosen with the step, by queries that know what answers them."""

from __future__ import annotations

from nudge_integrations.solver.nudge_search import NudgeResult, search_nudges
from nudge_integrations.solver.options import Options
from nudge_integrations.solver.prepare import Prepared
from nudge_integrations.solver.solution import Candidate

__all__ = ["search_with_noes"]

# Weights of a no that are tried, the first of those that are equally good is taken: what was said is not passed over
# unless it costs something.
_TRIED = (1.0, 0.5, 0.25, 0.0)

# Sums of the same changes in another order differ by this much.
_ROUNDING = 1e-9


def search_with_noes(prepared: Prepared, options: Options) -> tuple[Prepared, NudgeResult, list[Candidate]]:
    """Return the best direction with its best step and what every direction was worth, with the best weight of noes.

    The first of what is returned is what was prepared, with that weight.
    """
    if prepared.labels.noes is None:
        return prepared, *search_nudges(prepared, options)
    if prepared.noes_alone:  # then they set every direction, whatever their weight
        return prepared, *search_nudges(prepared, options, (None,))
    tried = _TRIED if options.negative_weight is None else (options.negative_weight,)
    found = [(weighed, *search_nudges(weighed, options)) for weighed in map(prepared.with_negative_weight, tried)]
    most = max(result.candidate.gain for _, result, _ in found)
    return next(one for one in found if one[1].candidate.gain >= most - _ROUNDING)
