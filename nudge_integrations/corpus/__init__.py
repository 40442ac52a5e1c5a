"""Documents that can be searched, and how a ranking of them is measured."""

from nudge_integrations.corpus.arrays import ArrayCorpus, as_corpus
from nudge_integrations.corpus.corpus import Corpus, Neighbours
from nudge_integrations.corpus.metrics import METRICS, Metric, parse_metric

__all__ = ["METRICS", "ArrayCorpus", "Corpus", "Metric", "Neighbours", "as_corpus", "parse_metric"]
