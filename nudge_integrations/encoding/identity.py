"""Is this the same model? Fingerprints that are composed for a framework's models, and vectors that tell more.

An encoder names itself. A framework's embedding model is named by its class, its model and the settings that decide its
vectors: prompts, instructions, task types, dimensions, normalisation, also inside ``encode_kwargs`` and the like. What
only says how to run it (keys, devices, folders, batch sizes) does not count, or another machine would be refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.corpus import unit_rows
from nudge_integrations.encoding.encoder import checked_vectors
from nudge_integrations.errors import MismatchError

__all__ = ["SAME_VECTOR", "check_stored_vectors", "known_to_differ", "settings_fingerprint"]

# Distance between unit vectors (about 1.1 degrees) up to which two encodings of one text are taken for the same.
# Half precision and other hardware change a few thousandths, one byte a coordinate about half of it.
SAME_VECTOR = 0.02

_FRAMEWORKS = ("langchain", "llama_index")

# Settings that decide a model's vectors, by a part of their name or by their name.
_DECISIVE = (
    *("model", "instruction", "prompt", "prefix", "suffix", "dimension", "max_length", "normali", "pooling", "task"),
    *("truncat", "precision"),
)
_DECISIVE_NAMES = frozenset({"input_type", "embed_dim", "embedding_type", "embedding_types", "mode", "revision"})
_DECISIVE_NAMES |= {"deployment", "size", "title", "output_dtype", "late_chunking", "text_type"}
# Named like a setting of the model, but about the class.
_INCIDENTAL = frozenset({"model_config"})

# How many stored vectors are compared with fresh ones.
_SAMPLE = 4


def settings_fingerprint(
    framework: Literal["langchain", "llama_index"], kind: str, name: str, settings: Mapping[str, Any]
) -> str:
    """Compose the fingerprint of a framework's embedding model, the same in every process.

    Two models that it does not distinguish are distinguished by their vectors, when documents are embedded again.

    Args:
        framework: Whose model it is.
        kind: The name of its class.
        name: The name of the model.
        settings: Every setting; those that do not decide vectors are left out here. A model inside may be given by its
            own fingerprint.

    >>> one = settings_fingerprint("langchain", "Embeddings", "small", {"dimensions": 256, "api_key": "a"})
    >>> one == settings_fingerprint("langchain", "Embeddings", "small", {"dimensions": 256, "api_key": "b"})
    True
    >>> one == settings_fingerprint("langchain", "Embeddings", "small", {"dimensions": 512})
    False
    """
    digest = hashlib.sha256(json.dumps(_decisive(settings), sort_keys=True).encode()).hexdigest()[:16]
    return f"{framework}:{kind}:{name}:{digest}"


def known_to_differ(one: str, other: str) -> bool:
    """Say whether two fingerprints are of different models, as far as fingerprints can tell.

    Those that encoders gave themselves, and those that were composed for one framework, can be compared. One model
    through two frameworks, or through a framework and as an encoder, has two that cannot: vectors tell then. Which
    module a class was imported from does not matter.

    >>> known_to_differ("model-1", "model-2"), known_to_differ("model-1", "langchain:Embeddings:model-2:")
    (True, False)
    """
    framework, rest = _parts(one)
    others, others_rest = _parts(other)
    return framework == others and rest != others_rest


def check_stored_vectors(
    embed: Callable[[list[str]], Any],
    documents: Mapping[str, str],
    vectors: NDArray[np.float32],
    among: Sequence[int],
    *,
    seed: int = 0,
) -> None:
    """Embed a few documents again, and refuse a model that gives other vectors than those that are stored.

    Args:
        embed: Embeds texts as documents.
        documents: Id -> text, of n documents; blank texts are not drawn.
        vectors: (n, d) stored base vectors of any length; those of no length are not drawn.
        among: The rows to draw from.
        seed: Another seed, another draw.

    Raises:
        MismatchError: If a vector differs, or d does.
        InputError: If the model gives no vectors.
    """
    ids, texts = list(documents), list(documents.values())
    order = np.random.default_rng(seed).permutation(among).tolist()
    usable = (row for row in order if texts[row].strip() and vectors[row].any())
    rows = [row for row, _ in zip(usable, range(_SAMPLE), strict=False)]
    if not rows:
        return
    some = [texts[row] for row in rows]
    fresh = checked_vectors(embed(some), some)
    if fresh.shape[1] != vectors.shape[1]:
        raise MismatchError(
            f"this model gives vectors of {fresh.shape[1]} numbers, the stored ones have {vectors.shape[1]}: "
            "give the model that made them, or embed the documents again"
        )
    distance = np.linalg.norm(unit_rows(fresh, "vectors") - unit_rows(vectors[rows], "vectors"), axis=1)
    if (distance > SAME_VECTOR).any():
        raise MismatchError(
            f"the stored vector of {ids[rows[int(distance.argmax())]]!r} is not the one that this model gives for its "
            "text: give the model that made the vectors, with the same settings, or embed the documents again"
        )


def _parts(fingerprint: str) -> tuple[str, str]:
    """Return the framework that a fingerprint was composed for, "" for none, and what is compared within it."""
    framework, _, rest = fingerprint.partition(":")
    if framework not in _FRAMEWORKS:
        return "", fingerprint
    kind, _, settings = rest.partition(":")
    return framework, f"{kind.rpartition('.')[2]}:{settings}"


def _decisive(settings: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = str(key).lower()
        if name.endswith("kwargs"):
            inner = _decisive(value) if isinstance(value, Mapping) else {}
            found |= {name: inner} if inner else {}
        elif name not in _INCIDENTAL and (name in _DECISIVE_NAMES or any(part in name for part in _DECISIVE)):
            found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; an object by its fingerprint, else by its class: its repr may hold anything."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return sorted(map(str, value)) if isinstance(value, set | frozenset) else [_plain(entry) for entry in value]
    own = getattr(value, "fingerprint", None)
    return own if isinstance(own, str) else type(value).__qualname__
