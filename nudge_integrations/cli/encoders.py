"""The name given as ``--encoder`` -> an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nudge_integrations.cli.import_paths import is_import_path, load_object
from nudge_integrations.cli.screen import shows_bars
from nudge_integrations.encoding import CachedEncoder, Encoder, SentenceTransformerEncoder
from nudge_integrations.errors import InputError

__all__ = ["EncoderChoice", "load_encoder"]


@dataclass(frozen=True)
class EncoderChoice:
    """The encoder named on the command line.

    Attributes:
        name: A sentence-transformers model's name or path, or the import path of an encoder or of what makes one.
        batch_size: Texts encoded at a time; an encoder that is imported knows its own.
        device: Where to encode; an encoder that is imported knows its own.
        cache: Folder that keeps embeddings; None keeps none.
    """

    name: str
    batch_size: int = 32
    device: str | None = None
    cache: Path | None = None


def load_encoder(choice: EncoderChoice) -> Encoder:
    """Load an encoder that shows its progress on a terminal.

    Raises:
        InputError: If there is no such model, or what is imported is no encoder.
        MissingExtraError: If sentence-transformers is needed and not installed.
    """
    if not is_import_path(choice.name):
        return SentenceTransformerEncoder(
            choice.name,
            batch_size=choice.batch_size,
            device=choice.device,
            progress=shows_bars(),
            cache_dir=choice.cache,
        )
    loaded = load_object(choice.name)
    # A class has its instances' methods, so it would pass for one.
    encoder = loaded() if isinstance(loaded, type) or (not isinstance(loaded, Encoder) and callable(loaded)) else loaded
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"{choice.name} is a {type(encoder).__name__}, no encoder: it needs encode_documents, encode_queries and "
            "fingerprint"
        )
    return encoder if choice.cache is None else CachedEncoder(encoder, choice.cache, progress=shows_bars())
