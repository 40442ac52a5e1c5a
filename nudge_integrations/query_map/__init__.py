"""Query-side linear maps, arrays in, arrays out: q' = unit(q + q M).

They help queries for unlabelled documents, where these resemble the training queries.

    labels -> residuals -> regression -> map -> QueryMap
              (where to)   (from what)

`fit_ridge` has a closed form with exact leave-one-out; `fit_iterated_ridge` takes several of its steps, chosen by
cross-validation; `fit_trained` trains one by gradient steps, as usual for an adaptor.
"""

from nudge_integrations.query_map.iterated import fit_iterated_ridge
from nudge_integrations.query_map.query_map import Evaluate, QueryMap
from nudge_integrations.query_map.ridge import ContrastiveRidge, contrastive_ridge, fit_ridge
from nudge_integrations.query_map.trained import fit_trained
from nudge_integrations.query_map.training import read_training, residuals

__all__ = [
    "ContrastiveRidge",
    "Evaluate",
    "QueryMap",
    "contrastive_ridge",
    "fit_iterated_ridge",
    "fit_ridge",
    "fit_trained",
    "read_training",
    "residuals",
]
