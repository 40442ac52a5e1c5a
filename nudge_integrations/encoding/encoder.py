"""The protocol of encoders: texts in, vectors out, both checked; and the hash by which a text is known."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.corpus import as_matrix, as_rows
from nudge_integrations.corpus.texts import whole
from nudge_integrations.errors import InputError

__all__ = ["Encoder", "Role", "Vectors", "checked_texts", "checked_vectors", "text_hash"]

Vectors = NDArray[np.float32]
Role = Literal["document", "query"]

# How much of a text a message shows.
_SHOWN = 60


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
    An encoder may also have ``similarity``, ``"cosine"`` or ``"dot"``: what its vectors are made to be ranked by; it is
    cosine where nothing is said.
    """

    @property
    def fingerprint(self) -> str:
        """A text that is the same for the same vectors, and another for any other model or setting."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Embed n documents as (n, d) float32."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Embed m queries as (m, d) float32."""
        ...


def checked_texts(texts: Sequence[str]) -> Sequence[str]:
    """Return texts as a model takes them, U+FFFD for half a character.

    Raises:
        InputError: If this is no sequence of strings.
    """
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        kinds = "one string" if isinstance(texts, str) else ", ".join(sorted({type(text).__name__ for text in texts}))
        raise InputError(f"texts are {kinds}; expected a list of strings")
    return [whole(text) for text in texts]


def checked_vectors(vectors: Any, texts: Sequence[str]) -> Vectors:
    """Take an encoder's output for n texts as (n, d) float32.

    Raises:
        InputError: If it is not that; names the text whose vector is missing, empty, of another length or not finite.
    """
    name, names = "the encoder's vectors", [_shortened(text) for text in texts]
    matrix = as_matrix(vectors, name, ids=names)
    if len(matrix) != len(texts) or (len(texts) and matrix.shape[1] == 0):
        shape, first = tuple(matrix.shape), f" (the first is {names[0]!r})" if names else ""
        raise InputError(f"the encoder gave vectors of shape {shape} for {len(texts)} texts{first}; expected (n, d)")
    return as_rows(matrix, name, ids=names)


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
