"""Which signals a fit weighs beside the vectors: those that were asked for, or BM25 to be told of alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import InputError
from nudge_integrations.fusion import Bm25, LexicalIndex, LexicalSignal, Signal, has_bm25

__all__ = ["AskedSignals"]

# What BM25 would add is told by default where the documents are no longer than this, which takes two or three seconds.
_TOLD_CHARACTERS = 20_000_000


@dataclass(frozen=True)
class AskedSignals:
    """Signals for a fit.

    Attributes:
        signals: The signals, which know the documents.
        texts: The texts of the queries that evaluate: of the labelled ones, or of the validation set.
        serve: False where what they would add is told and nothing more.
    """

    signals: list[Signal]
    texts: list[str]
    serve: bool = True

    @classmethod
    def of(cls, asked: Sequence[str | Bm25 | Signal], dataset: RetrievalDataset, texts: list[str]) -> AskedSignals:
        """Take what was asked for.

        Raises:
            InputError: If a signal is unknown.
            MissingExtraError: If BM25 is asked for and bm25s is not installed.
        """
        found: list[Signal] = []
        for signal in (asked,) if isinstance(asked, str | Bm25) or not isinstance(asked, Iterable) else asked:
            if isinstance(signal, str | Bm25):
                index = LexicalIndex(signal if isinstance(signal, Bm25) else Bm25.named(signal))
                index.insert(dataset.document_ids, list(dataset.corpus.values()))
                found.append(LexicalSignal(index))
            elif isinstance(getattr(signal, "name", None), str):
                found.append(signal)
            else:
                raise InputError(f"{signal!r:.80} is no signal; expected 'bm25', a Bm25 or a Scorer")
        return cls(found, texts)

    def or_told(self, dataset: RetrievalDataset) -> AskedSignals:
        """Return BM25, to be told of alone, where no signal was asked for and texts are there to be read at once."""
        characters = sum(map(len, dataset.corpus.values()))
        known = has_bm25() and all(text.strip() for text in dataset.corpus.values())
        if self.signals or not known or characters > _TOLD_CHARACTERS:
            return self
        return replace(AskedSignals.of((Bm25.name,), dataset, self.texts), serve=False)
