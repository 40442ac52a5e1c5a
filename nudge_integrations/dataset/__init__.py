"""A retrieval dataset: documents, queries and relevance labels, read, checked, split and written.

    files, records -> RetrievalDataset --+-> validation   what is wrong with it, and what a repair leaves out
    (BEIR, JSON,                         +-> splits       train, validation and test; by clusters of queries as well
     logs)                               +-> content      its hash, a union of two, the matrix that the solver takes
                                         +-> alignment    the same labels over the documents that are served

Numbers and texts only: nothing here loads torch or a framework.
"""

from nudge_integrations.dataset.retrieval_dataset import RetrievalDataset
from nudge_integrations.dataset.validation import ValidationReport

__all__ = ["RetrievalDataset", "ValidationReport"]
