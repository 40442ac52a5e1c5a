"""Signals beside the vectors, BM25 above all, and the weights that they are added with.

    texts -> Bm25 (tokens, language) -> LexicalIndex -> scores from 0 to 1
    any callable -> Scorer                                |
    dense scores + sum of weight * signal  <-  Fusion  <--+

How large a weight is worth it is found out by `nudge_integrations.selection`, with the documents' steps and the map.
"""

from nudge_integrations.fusion.lexical import LexicalIndex, LexicalScores
from nudge_integrations.fusion.signals import LexicalSignal, QueryScorer, Scorer, SearchSignal, Signal
from nudge_integrations.fusion.tokens import LANGUAGES, Bm25, has_bm25
from nudge_integrations.fusion.weights import Fusion

__all__ = [
    "LANGUAGES",
    "Bm25",
    "Fusion",
    "LexicalIndex",
    "LexicalScores",
    "LexicalSignal",
    "QueryScorer",
    "Scorer",
    "SearchSignal",
    "Signal",
    "has_bm25",
]
