"""Query-side linear maps, arrays in, arrays out: q' = unit(q + q M).

They help queries whose documents nobody labelled, where these resemble the training queries.

    labels -> residuals -> regression -> map -> Adaptor
              (where to)   (from what)

`fit_ridge` has a closed form with exact leave-one-out; `fit_softmax` takes several of its steps, chosen by
cross-validation; `fit_trained` is the usual adaptor of gradient steps.
"""

from nudge_integrations.adaptor.adaptor import Adaptor, Judge
from nudge_integrations.adaptor.ridge import ContrastiveRidge, contrastive_ridge, fit_ridge
from nudge_integrations.adaptor.softmax import fit_softmax
from nudge_integrations.adaptor.trained import fit_trained
from nudge_integrations.adaptor.training import read_training, residuals

__all__ = [
    "Adaptor",
    "ContrastiveRidge",
    "Judge",
    "contrastive_ridge",
    "fit_ridge",
    "fit_softmax",
    "fit_trained",
    "read_training",
    "residuals",
]
