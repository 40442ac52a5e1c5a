"""Query-side linear maps: q' = unit(q + q M).

They help queries for documents that nobody labelled, where these resemble the queries that teach.

    prepared -> teaching -> ridge, in one step or several -> shifts of queries that were left out
                (where to)  (from what, in closed form)

`nudge_integrations.selection` chooses among the maps in closed form; `fit_trained` trains one by gradient steps, as is
usual for query adapters.
"""

from nudge_integrations.query_map.query_map import Evaluate, QueryMap
from nudge_integrations.query_map.trained import fit_trained

__all__ = ["Evaluate", "QueryMap", "fit_trained"]
