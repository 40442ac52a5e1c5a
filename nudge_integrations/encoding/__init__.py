"""Texts to vectors: what an encoder is, sentence-transformers models as encoders, and a cache on disk for any.

    texts -> Encoder -> vectors     SentenceTransformerEncoder, or any class with two methods and a fingerprint
                |
         CachedEncoder              reads what was embedded before from an embedding_cache on disk

A model's fingerprint tells its vectors from those of any other model, and `identity` compares fingerprints and vectors;
`text_hash` tells texts apart.
"""

from nudge_integrations.encoding.cached_encoder import CachedEncoder
from nudge_integrations.encoding.encoder import Encoder, text_hash
from nudge_integrations.encoding.sentence_transformer import SentenceTransformerEncoder, bundled_model

__all__ = ["CachedEncoder", "Encoder", "SentenceTransformerEncoder", "bundled_model", "text_hash"]
