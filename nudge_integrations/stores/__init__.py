"""Vector stores that serve, nudged in place: planned, applied, verified, rolled back.

    open_store -> LiveStore -> corpus -> fit_store -> Nudge
                      |
                    plan -> apply -> Rollout (resume, verify, rollback)
                              |
                           journal, a folder, written before the first row changes

An adapter for another store is four methods: `StoreAdapter`.
"""

from nudge_integrations.stores.canary import Canary, Prediction
from nudge_integrations.stores.fitting import fit_store
from nudge_integrations.stores.frameworks import ranks_by, width_of
from nudge_integrations.stores.fused_store import FusedStore
from nudge_integrations.stores.journal import journals_folder
from nudge_integrations.stores.live_store import LiveStore
from nudge_integrations.stores.opening import open_store
from nudge_integrations.stores.plan import RolloutPlan
from nudge_integrations.stores.retrying import Retries
from nudge_integrations.stores.rollout import Rollout, Verification
from nudge_integrations.stores.store import (
    Lockable,
    Ranking,
    Searchable,
    SideBySide,
    StoreAdapter,
    StoreInfo,
    Transactional,
    Where,
)
from nudge_integrations.stores.store_corpus import StoreCorpus
from nudge_integrations.stores.text_search import Texts, TextSearch

__all__ = [
    "Canary",
    "FusedStore",
    "LiveStore",
    "Lockable",
    "Prediction",
    "Ranking",
    "Retries",
    "Rollout",
    "RolloutPlan",
    "Searchable",
    "SideBySide",
    "StoreAdapter",
    "StoreCorpus",
    "StoreInfo",
    "TextSearch",
    "Texts",
    "Transactional",
    "Verification",
    "Where",
    "fit_store",
    "journals_folder",
    "open_store",
    "ranks_by",
    "width_of",
]
