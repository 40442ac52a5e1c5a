"""Lexical scores of documents that come and go: BM25 by bm25s, built again when it is asked after a change.

On disk ``lexical.json`` names and hashes the rest (see `storage.manifest`): ``tokens.safetensors`` holds the documents'
tokens and the matrix of scores as numbers, ``vocabulary.json`` the tokens and the ids. Nothing that is read can run.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from nudge_integrations.errors import CorruptArtifactError, InputError, MissingExtraError
from nudge_integrations.fusion.matrix import score_matrix
from nudge_integrations.fusion.saved import check_saved
from nudge_integrations.fusion.tokens import Bm25, Tokenizer, coder_of, tokenizer_of
from nudge_integrations.storage import load_files, save_files

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LexicalIndex", "LexicalScores"]

_FORMAT = "nudge-integrations/lexical-index"
_VERSION = 1
_FILES = ("tokens.safetensors", "vocabulary.json")


@dataclass(frozen=True, eq=False)
class LexicalScores:
    """BM25 of one query, from 0 to 1.

    Attributes:
        ids: The n documents.
        row_of: Id -> row.
        scores: (n,) float32.
    """

    ids: tuple[str, ...]
    row_of: Mapping[str, int]
    scores: NDArray[np.float32]

    def best(self, k: int, allowed: Callable[[str], bool] | None = None) -> list[str]:
        """Return the ids of the k best documents that share a word with the query, ties in the order of insertion."""
        matching = np.flatnonzero(self.scores > 0.0)
        if allowed is None and len(matching) > k:
            kth = np.partition(self.scores[matching], len(matching) - k)[len(matching) - k]
            above = matching[self.scores[matching] > kth]
            tied = matching[self.scores[matching] == kth][: k - len(above)]
            matching = np.union1d(above, tied)
        ranked = (self.ids[row] for row in matching[np.argsort(-self.scores[matching], kind="stable")])
        return list(islice(ranked if allowed is None else filter(allowed, ranked), k))

    def of(self, ids: Sequence[str]) -> NDArray[np.float64]:
        """Return (p,) float64, the scores of some documents; 0 where one is not there."""
        rows = [self.row_of.get(document_id, -1) for document_id in ids]
        return np.array([self.scores[row] if row >= 0 else 0.0 for row in rows], np.float64)


@dataclass(frozen=True, eq=False)
class _Built:
    """The documents at one moment with the index of bm25s, None where none of them has a token."""

    ids: tuple[str, ...]
    row_of: Mapping[str, int]
    words: int
    model: Any


class LexicalIndex:
    """Texts under ids, scored by BM25.

    Inserting and deleting only takes note of tokens; the index is built again, from the tokens of all documents, when
    scores are next asked for. Scores are the same as those of an index that was built of these documents at once.

    >>> index = LexicalIndex(Bm25(language="en"))
    >>> index.insert(["a", "b"], ["Cats purr.", "A dog barks at dogs."])
    >>> index.scores(["barking dog", "birds"]).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """

    def __init__(self, settings: Bm25 | None = None) -> None:
        self._settings = Bm25() if settings is None else settings
        self._tokens_of = tokenizer_of(self._settings)
        self._vocabulary: dict[str, int] = {}
        self._documents: dict[str, NDArray[np.int32]] = {}
        self._built: _Built | None = None
        self._lock = threading.RLock()

    @property
    def settings(self) -> Bm25:
        """How scores are computed."""
        return self._settings

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, in the order of the columns of `scores`."""
        return tuple(self._documents)

    def __len__(self) -> int:
        return len(self._documents)

    def __contains__(self, document_id: object) -> bool:
        return document_id in self._documents

    def insert(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """Add documents at the end, or replace the texts of those whose ids are there.

        Raises:
            InputError: If the numbers of ids and texts differ.
        """
        if len(ids) != len(texts):
            raise InputError(f"{len(ids)} ids came with {len(texts)} texts; there must be one each")
        with self._lock:
            codes_of = coder_of(self._settings, self._vocabulary)
            for document_id, text in zip(ids, texts, strict=True):
                self._documents[document_id] = np.array(codes_of(text), np.int32)
            self._built = None

    def delete(self, ids: Iterable[str]) -> None:
        """Remove documents that are there.

        Raises:
            InputError: If an id is not there; nothing was removed then.
        """
        gone = list(ids)
        with self._lock:
            unknown = [document_id for document_id in gone if document_id not in self._documents]
            if unknown:
                raise InputError(f"document {unknown[0]!r} is not in the lexical index, so it cannot be deleted")
            for document_id in gone:
                self._documents.pop(document_id, None)
            self._built = None

    def discard(self, ids: Iterable[str]) -> None:
        """Remove documents; ids that are not there are no error."""
        with self._lock:
            for document_id in ids:
                self._documents.pop(document_id, None)
            self._built = None

    def scores(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Return (m, n) float32: BM25 divided by the query's largest, so from 0 to 1; zeros where no word matches."""
        return self._scores(self._ready(), queries)

    def score(self, query: str) -> LexicalScores:
        """Return the scores of one query by id."""
        built = self._ready()
        return LexicalScores(built.ids, built.row_of, self._scores(built, [query])[0])

    def __getstate__(self) -> dict[str, Any]:
        """Return one moment, without the lock, which belongs to this process, and without what is built of the rest."""
        with self._lock:
            documents, vocabulary = dict(self._documents), dict(self._vocabulary)
        return {"settings": self._settings, "documents": documents, "vocabulary": vocabulary}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what `__getstate__` returned."""
        self.__init__(state["settings"])  # type: ignore[misc]
        self._documents, self._vocabulary = state["documents"], state["vocabulary"]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a folder, in place of what was saved there, all at once.

        Raises:
            ArtifactError: If something else is in the way.
        """
        with self._lock:
            model = self._ready().model
            ids, documents = list(self._documents), list(self._documents.values())
            names = {"ids": ids, "tokens": list(self._vocabulary)}
        tensors = {
            "tokens": np.concatenate([np.zeros(0, np.int32), *documents]),
            "lengths": np.array([len(tokens) for tokens in documents], np.int64),
        }
        if model is not None:
            tensors |= {name: np.ascontiguousarray(model.scores[name]) for name in ("data", "indices", "indptr")}
        content = {"format": _FORMAT, "version": _VERSION, "documents": len(ids), **self._settings.as_dict()}
        files = {
            "tokens.safetensors": [save_tensors(tensors)],
            "vocabulary.json": [json.dumps(names).encode("ascii")],
        }
        save_files(path, "lexical.json", content, files)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, tokenizer: Tokenizer | None = None, verify: bool = True
    ) -> LexicalIndex:
        """Read what was saved.

        Args:
            path: The folder.
            tokenizer: The tokenizer that the settings named, if they did: functions are not saved.
            verify: Whether to hash the files.

        Raises:
            InputError: If a tokenizer is missing, or given where there was none.
            CorruptArtifactError: If a file is missing, truncated or altered.
            ArtifactError: If the folder holds something else, or a newer format.
            MissingExtraError: If bm25s is not installed.
        """
        content, files = load_files(path, "lexical.json", _FILES, format_name=_FORMAT, version=_VERSION, verify=verify)
        try:
            index = cls(Bm25.from_dict(content, tokenizer))
            tensors = load_tensors(bytes(files["tokens.safetensors"]))
            names = json.loads(bytes(files["vocabulary.json"]))
            check_saved(names, tensors)
            index._restore(names["ids"], names["tokens"], tensors)
        except InputError:  # of the tokenizer, which is for the caller to give
            raise
        except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise CorruptArtifactError(
                f"{path} does not hold a whole lexical index ({error}); save it again"
            ) from error
        return index

    def _restore(self, ids: list[str], tokens: list[str], tensors: dict[str, NDArray[Any]]) -> None:
        ends = np.cumsum(tensors["lengths"])
        parts = np.split(tensors["tokens"], ends[:-1]) if len(ends) else []
        self._documents = dict(zip(ids, parts, strict=True))
        self._vocabulary = {token: code for code, token in enumerate(tokens)}
        if "data" in tensors:
            matrix = {name: tensors[name] for name in ("data", "indices", "indptr")}
            model = self._empty()
            model.scores = {**matrix, "num_docs": len(ids)}
            self._built = self._snapshot(model)

    def _scores(self, built: _Built, queries: Sequence[str]) -> NDArray[np.float32]:
        found, vocabulary = np.zeros((len(queries), len(built.ids)), np.float32), self._vocabulary
        if built.model is None:
            return found
        for row, query in enumerate(queries):
            codes = [vocabulary.get(token, built.words) for token in self._tokens_of(query)]
            # Tokens that came after the index was built are not in it.
            if codes := [code for code in codes if code < built.words]:
                found[row] = built.model.get_scores_from_ids(codes)
        largest = found.max(axis=1, keepdims=True)
        np.divide(found, largest, out=found, where=largest > 0.0)
        return found

    def _ready(self) -> _Built:
        """Return the index of the documents as they are, built again after a change."""
        with self._lock:
            if self._built is None:
                documents, model, settings = list(self._documents.values()), None, self._settings
                if any(map(len, documents)):
                    model = self._empty()
                    model.scores = score_matrix(documents, len(self._vocabulary), settings.k1, settings.b)
                self._built = self._snapshot(model)
            return self._built

    def _snapshot(self, model: Any) -> _Built:
        ids = tuple(self._documents)
        return _Built(ids, {document_id: row for row, document_id in enumerate(ids)}, len(self._vocabulary), model)

    def _empty(self) -> Any:
        try:
            import bm25s
        except ImportError as error:
            raise MissingExtraError("bm25s", "lexical") from error
        empty = bm25s.BM25(k1=self._settings.k1, b=self._settings.b)
        empty.nonoccurrence_array = None  # which its building sets, and its loading does not
        return empty
