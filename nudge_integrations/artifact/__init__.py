"""Nudge: the documents that moved, where to, and how that came about; saved, loaded, applied, reverted, compared.

    Solution -> record -> Nudge -> placement -> vectors that are served
                            |      (apply, revert, diff)
                          format   (a folder in which no byte changes unseen)

`matching` finds the documents that a nudge knows where both ids and texts come, edited and renamed ones among them.
"""

from nudge_integrations.artifact.nudge import Nudge
from nudge_integrations.artifact.placement import NudgeDiff
from nudge_integrations.artifact.record import HasFingerprint

__all__ = ["HasFingerprint", "Nudge", "NudgeDiff"]
