"""A dataset and an encoder in, a nudge out; and documents that are served where a nudge puts them.

    dataset, encoder -> fit -> Nudge
                                 |
    documents, base vectors -> NudgedIndex -> search, change, take back, save

The edges to frameworks stand on both.
"""

from nudge_integrations.pipeline.fitting import METHODS, QUERY_MAPS, fit, tries_query_maps
from nudge_integrations.pipeline.inner_product import similarity_of

__all__ = ["METHODS", "QUERY_MAPS", "fit", "similarity_of", "tries_query_maps"]
