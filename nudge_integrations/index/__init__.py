"""Exact search: ids, vectors and their similarity -> the top k; filters, insert, delete, save, load.

    ids, vectors -> ExactIndex -> rows -> search -> ids and scores
                        |         (one moment, whole)
                      format      (a folder that is mapped from the disk)

`filters` says what may be asked of metadata. `coordinate` carries inner products to stores that only know cosine or L2,
by one more coordinate.
"""

from nudge_integrations.index.coordinate import with_extra_coordinate, with_zero_coordinate, without_extra_coordinate
from nudge_integrations.index.exact_index import ExactIndex
from nudge_integrations.index.filters import Filter

__all__ = ["ExactIndex", "Filter", "with_extra_coordinate", "with_zero_coordinate", "without_extra_coordinate"]
