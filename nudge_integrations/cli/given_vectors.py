"""Vectors that are there already, in files or in a kept run, instead of those that a model would make again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nudge_integrations.cli.encoders import EncoderChoice, load_encoder
from nudge_integrations.cli.vector_files import read_ids, read_vectors
from nudge_integrations.corpus import as_rows
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.dataset.beir import read_corpus, read_queries
from nudge_integrations.encoding import Encoder
from nudge_integrations.errors import InputError, NudgeError
from nudge_integrations.evaluation import RunFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GivenVectors", "VectorFiles", "reused"]

# Vectors by which files are told apart where no model is named.
_TOLD_BY = 64


@dataclass(frozen=True)
class VectorFiles:
    """The files of vectors named on the command line.

    Attributes:
        documents: (n, d) vectors of the documents; None for none.
        document_ids: Their ids in order; None for the order of the dataset.
        queries: (m, d) vectors of queries; None for none.
        query_ids: Their ids in order; None for the order of the dataset, of all splits together.
    """

    documents: Path | None = None
    document_ids: Path | None = None
    queries: Path | None = None
    query_ids: Path | None = None

    def check(self) -> None:
        """Refuse ids without vectors.

        Raises:
            InputError: If a file of ids is named without the vectors that they are of.
        """
        pairs = ("document", self.documents, self.document_ids), ("query", self.queries, self.query_ids)
        for name, vectors, ids in pairs:
            if ids is not None and vectors is None:
                raise InputError(f"--{name}-ids names the rows of --{name}-vectors, which are missing")


@dataclass(eq=False)
class GivenVectors:
    """An encoder that looks vectors up by their text, and asks a model, if there is one, for the others.

    Attributes:
        encoder: The model; None where all vectors must be there.
        fingerprint: Of the model; where there is none, what the vectors are known by.
        documents: Text -> base vector.
        queries: Text -> vector.
    """

    encoder: Encoder | None
    fingerprint: str
    documents: dict[str, NDArray[Any]] = field(default_factory=dict)
    queries: dict[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, choice: EncoderChoice | None, files: VectorFiles, dataset: Path) -> GivenVectors | Encoder:
        """Read files of vectors for a dataset; return the model itself where there are none.

        Args:
            choice: The model named on the command line; None for none.
            files: The files.
            dataset: A BEIR folder, or a file with labels.

        Raises:
            InputError: If a file cannot be read, or has not a vector an id, or there is neither a model nor vectors.
        """
        files.check()
        encoder = None if choice is None else load_encoder(choice)
        if files.documents is None and files.queries is None:
            if encoder is None:
                raise InputError("give --encoder, or the vectors: --document-vectors and --query-vectors")
            return encoder
        corpus, queries = _texts_of(dataset)
        documents = _by_text(corpus, files.documents, files.document_ids, "document")
        asked = _by_text(queries, files.queries, files.query_ids, "query")
        return cls(encoder, _fingerprint(encoder, documents or asked), documents, asked)

    @property
    def similarity(self) -> str:
        """The similarity that ranks the model's vectors; cosine where no model is named."""
        return getattr(self.encoder, "similarity", "cosine")

    def with_run(self, run: RunFolder) -> Self:
        """Return the same with the embeddings of a kept run of the same model; those of files win."""
        documents = dict(zip(run.test.corpus.values(), run.documents, strict=True))
        queries = dict(zip(run.test.queries.values(), run.queries, strict=True))
        return replace(self, documents=documents | self.documents, queries=queries | self.queries)

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, d) float32 vectors.

        Raises:
            InputError: If a text has no vector, and there is no model.
        """
        return self._encoded(texts, self.documents, "document")

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (m, d) float32 vectors.

        Raises:
            InputError: If a text has no vector, and there is no model.
        """
        return self._encoded(texts, self.queries, "query")

    def _encoded(self, texts: Sequence[str], known: dict[str, NDArray[Any]], what: str) -> NDArray[np.float32]:
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing and self.encoder is None:
            raise InputError(
                f"{len(missing)} texts have no vector, the first is {missing[0][:80]!r}: give --encoder, "
                f"or all of them as --{what}-vectors"
            )
        made: Mapping[str, Any] = {}
        if missing and self.encoder is not None:
            encode = self.encoder.encode_documents if what == "document" else self.encoder.encode_queries
            made = dict(zip(missing, encode(missing), strict=True))
        return as_rows([known[text] if text in known else made[text] for text in texts], f"{what} vectors")


def reused(encoder: GivenVectors | Encoder, folder: Path, *, asked: bool) -> tuple[GivenVectors | Encoder, str | None]:
    """Return an encoder that takes the embeddings of a kept run where they are of its model, and that in words.

    Args:
        encoder: The model, or vectors.
        folder: The run, which may be absent or something else unless it was asked for.
        asked: Whether the user named it.

    Raises:
        NudgeError: If a run that was asked for cannot be read, or is of another model.
    """
    try:
        run = RunFolder.load(folder)
        run.nudge.check_encoder(encoder)
    except (NudgeError, OSError):
        if asked:
            raise
        return encoder, None
    given = encoder if isinstance(encoder, GivenVectors) else GivenVectors(encoder, encoder.fingerprint)
    count = len(run.documents) + len(run.queries)
    return given.with_run(run), f"{count:,} embeddings of the run in {folder} are used again where texts are the same."


def _texts_of(dataset: Path) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the documents and the queries of all splits."""
    if dataset.is_dir():
        return read_corpus(dataset), read_queries(dataset)
    labels = RetrievalDataset.from_object(dataset)
    return labels.corpus, labels.queries


def _by_text(texts: Mapping[str, str], file: Path | None, ids: Path | None, what: str) -> dict[str, NDArray[Any]]:
    if file is None:
        return {}
    vectors = read_vectors(file)
    names = list(texts) if ids is None else read_ids(ids)
    if len(names) != len(vectors):
        whose = (
            f"the dataset has {len(names):,} ids (name others with --{what}-ids)"
            if ids is None
            else (f"{ids} {len(names):,} ids")
        )
        raise InputError(f"{file} holds {len(vectors):,} vectors, and {whose}; give one id a vector")
    found: dict[str, NDArray[Any]] = {}
    for name, vector in zip(names, vectors, strict=True):
        text = texts.get(name)
        if text is None:
            continue
        if not np.array_equal(found.setdefault(text, vector), vector):
            raise InputError(f"{file}: {what} {name!r} shares its text with another and has another vector")
    return found


def _fingerprint(encoder: Encoder | None, vectors: Mapping[str, NDArray[Any]]) -> str:
    if encoder is not None:
        return encoder.fingerprint
    told = sorted(vectors.items())[:_TOLD_BY]
    digest = hashlib.sha256(b"".join(np.float16(vector).tobytes() for _, vector in told))
    return f"vectors:{digest.hexdigest()[:16]}"
