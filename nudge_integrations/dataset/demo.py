"""The demo's data, which ship inside the package, so that the first example needs no file and no network."""

from __future__ import annotations

from nudge_integrations.data import METATOOL
from nudge_integrations.dataset.retrieval_dataset import RetrievalDataset

__all__ = ["load_demo"]


def load_demo() -> tuple[RetrievalDataset, RetrievalDataset]:
    """Load the demo's data: 199 tool descriptions, 2,400 labelled requests to learn from and 600 others to test on.

    A piece of the MetaTool benchmark (MIT); which tool answers a request is what an agent has to find.

    Returns:
        The train and the test requests, over the same documents.

    Example:
        >>> train, test = load_demo()
        >>> len(train.corpus), len(train.queries), len(test.queries)
        (199, 2400, 600)
        >>> train.queries[train.query_ids[0]]
        "Can you find studies on new interventions for Parkinson's disease?"
    """
    train, test = (RetrievalDataset.from_beir(METATOOL, split) for split in ("train", "test"))
    return train, test
