"""A dataset and an encoder in, a nudge out; and documents that are served where a nudge puts them.

    dataset, encoder -> fit -> Nudge
                                 |
    Nudge, new labels, documents now -> refit -> Nudge
                                                   |
    documents, base vectors -> NudgedIndex -> search, change, take back, save

The edges to frameworks stand on both.
"""

from nudge_integrations.pipeline.document_changes import DocumentChanges, labels_over_documents
from nudge_integrations.pipeline.fitting import METHODS, QUERY_MAPS, fit, tries_query_maps
from nudge_integrations.pipeline.inner_product import similarity_of
from nudge_integrations.pipeline.migration import Migration, bridge, migrate
from nudge_integrations.pipeline.nudge_health import Health, QueryDrift, health
from nudge_integrations.pipeline.refit_outcome import NewQueryGain, RefitDetails
from nudge_integrations.pipeline.refitting import refit, refit_details
from nudge_integrations.pipeline.space_map import SpaceMap, fit_space_map
from nudge_integrations.pipeline.suspect_labels import Suspect, suspects

__all__ = [
    "METHODS",
    "QUERY_MAPS",
    "DocumentChanges",
    "Health",
    "Migration",
    "NewQueryGain",
    "QueryDrift",
    "RefitDetails",
    "SpaceMap",
    "Suspect",
    "bridge",
    "fit",
    "fit_space_map",
    "health",
    "labels_over_documents",
    "migrate",
    "refit",
    "refit_details",
    "similarity_of",
    "suspects",
    "tries_query_maps",
]
