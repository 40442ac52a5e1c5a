"""A retrieval dataset: documents, queries and relevance labels, read, checked, split and written.

    forms -> RetrievalDataset -----------+-> validation   what is wrong with it, and what a repair leaves out
    (beir, files, tables,                +-> splits       parts by query, by document or by cluster of queries
     records)                            +-> train_test   Splits: train, validation and test, read or drawn
                                         +-> content      its hash, a union of two, the matrix that the solver takes
                                         +-> alignment    the same labels over the documents that are served

Numbers and texts only: nothing here loads torch or a framework.
"""

from nudge_integrations.dataset.demo import load_demo
from nudge_integrations.dataset.retrieval_dataset import RetrievalDataset
from nudge_integrations.dataset.train_test import Splits
from nudge_integrations.dataset.validation import ValidationReport

__all__ = ["RetrievalDataset", "Splits", "ValidationReport", "load_demo"]
