"""The weights of signals beside the dense scores, as plain numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from nudge_integrations.errors import InputError
from nudge_integrations.fusion.tokens import Bm25, Tokenizer

__all__ = ["Fusion", "over_largest"]


@dataclass(frozen=True)
class Fusion:
    """Weights of signals that are added to dense scores: score = dense + sum of weight * signal.

    Attributes:
        weights: Signal -> weight, for the signals that are worth having.
        lexical: The settings of BM25, as `Bm25.as_dict` has them; None without it.
        depth: How many of each signal's best documents are scored by all.
        gain: How much the metric rises by the signals alone, each query without its own labels.
        standard_error: The standard error of that gain.
        tokenizer: The tokenizer of your own that BM25 was made with, None without one: functions are not saved, so that
            a nudge that was saved needs it again (``Nudge.load(path, tokenizer=...)``).

    Raises:
        InputError: If a weight or the depth is not above 0.

    Example:
        >>> fusion = Fusion({"bm25": 0.25}, None, 100, 0.05, 0.01)
        >>> fusion.fused(0.5, {"bm25": 1.0})
        0.75
    """

    weights: Mapping[str, float]
    lexical: Mapping[str, Any] | None
    depth: int
    gain: float
    standard_error: float
    tokenizer: Tokenizer | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        odd = [name for name, weight in self.weights.items() if not 0.0 < weight < float("inf")]
        if odd or not self.weights or self.depth < 1:
            raise InputError(
                f"a fusion needs weights and a depth above 0; got {dict(self.weights)} and {self.depth}: leave it out "
                "where no signal is worth having"
            )

    def fused(self, dense: Any, signals: Mapping[str, Any]) -> Any:
        """Return the fused scores: numbers or arrays of one shape, as they come.

        Raises:
            InputError: If a signal is missing.
        """
        missing = [name for name in self.weights if name not in signals]
        if missing:
            raise InputError(f"the signal {missing[0]!r} is missing; give the scores of {', '.join(self.weights)}")
        return dense + sum(weight * signals[name] for name, weight in self.weights.items())

    def ranked(
        self,
        dense: Iterable[tuple[str, float]],
        found: Mapping[str, Iterable[tuple[str, float]]],
        k: int,
        *,
        dense_of: Callable[[list[str]], Sequence[float]] | None = None,
    ) -> list[tuple[str, float]]:
        """Return the k best documents of what a store's searches found, by the fused score.

        Search with at least ``depth`` documents each. Signals are divided by the query's largest score, as in the fit.

        Args:
            dense: Ids with their inner products or cosines, as the store found them by vectors.
            found: Signal -> ids with scores, as the store found them by text.
            k: How many at most.
            dense_of: Takes the ids that text alone found, returns their inner products. None: that of the last that
                vectors found, which is an upper bound.

        Raises:
            InputError: If a signal is missing, nothing but text found documents, a score is no finite number, or
                ``dense_of`` returns another number of scores.

        Example:
            >>> fusion = Fusion({"fts": 0.5}, None, 100, 0.05, 0.01)
            >>> fusion.ranked([("a", 0.75), ("b", 0.5)], {"fts": [("b", 12.0), ("c", 3.0)]}, k=2)
            [('b', 1.0), ('a', 0.75)]
        """
        scores = dict(dense)
        signals = {name: over_largest(name, entries) for name, entries in found.items()}
        others = [one for name in self.weights for one in signals.get(name, ()) if one not in scores]
        others = list(dict.fromkeys(others))
        if others and dense_of is None and not scores:
            raise InputError("no document was found by its vector; search by vectors as well, or give dense_of=")
        least = min(scores.values(), default=0.0)
        found_of = dense_of(others) if dense_of else [least] * len(others)
        if len(found_of) != len(others):
            raise InputError(f"dense_of= must return one score for each of the {len(others)} ids; got {len(found_of)}")
        scores |= dict(zip(others, map(float, found_of), strict=True))
        _check_finite("the search by vectors", scores)
        fused = {
            document_id: self.fused(score, {name: entries.get(document_id, 0.0) for name, entries in signals.items()})
            for document_id, score in scores.items()
        }
        return sorted(fused.items(), key=lambda one: -one[1])[:k]

    def bm25(self) -> Bm25 | None:
        """Return how BM25 is computed; None without it.

        Raises:
            InputError: If it was made with a tokenizer of your own, which was not given again.
        """
        return None if self.lexical is None else Bm25.from_dict(dict(self.lexical), self.tokenizer)

    def left_out_by(self, store: object) -> str:
        """Return a warning for a store that ranks by vectors alone."""
        return (
            f"{type(store).__name__} ranks by vectors alone, while the figures of the fit are those of {self}: add the "
            "signals with nudge.fusion.ranked, or serve by NudgeRetriever over documents"
        )

    def as_rank_expression(
        self, kind: Literal["qdrant", "elasticsearch"], *, largest: Mapping[str, float] | None = None
    ) -> dict[str, Any]:
        """Return the same sum for a store that computes it.

        ``"qdrant"``: the ``formula`` of a query whose first prefetch searches the vectors by inner product or cosine,
        and the next ones the signals in the order of ``weights``. ``"elasticsearch"``: the ``boost`` of a search's
        ``knn`` part and of the query for each signal; its kNN score of a cosine is (1 + cosine) / 2, hence the 2.

        Args:
            kind: Which store.
            largest: Signal -> what a score of 1 is there: the query's largest BM25, which a first search for one
                document tells. 1 where it is left out.

        Raises:
            InputError: If the store is unknown, or a largest score is not above 0.

        Example:
            >>> fusion = Fusion({"bm25": 0.5}, None, 100, 0.05, 0.01)
            >>> fusion.as_rank_expression("qdrant", largest={"bm25": 10.0})
            {'sum': ['$score[0]', {'mult': [0.05, '$score[1]']}]}
        """
        scales = {name: float((largest or {}).get(name, 1.0)) for name in self.weights}
        if any(not scale > 0.0 for scale in scales.values()):
            raise InputError(f"a largest score must be above 0; got {scales}")
        parts = {name: weight / scales[name] for name, weight in self.weights.items()}
        if kind == "qdrant":
            terms = [{"mult": [weight, f"$score[{place}]"]} for place, weight in enumerate(parts.values(), 1)]
            return {"sum": ["$score[0]", *terms]}
        if kind == "elasticsearch":
            return {"knn": {"boost": 2.0}, **{name: {"boost": weight} for name, weight in parts.items()}}
        raise InputError(f"unknown store {kind!r}; expected 'qdrant' or 'elasticsearch'")

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "weights": dict(self.weights),
            "lexical": None if self.lexical is None else dict(self.lexical),
            "depth": self.depth,
            "gain": self.gain,
            "standard_error": self.standard_error,
        }

    def __str__(self) -> str:
        parts = " + ".join(f"{weight:.3g} {name}" for name, weight in self.weights.items())
        return f"dense + {parts}"


def over_largest(name: str, found: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return id -> score over the largest, of what one query found; scores below 0 count as 0.

    Raises:
        InputError: If a score is no finite number.

    Example:
        >>> over_largest("fts", [("a", 4.0), ("b", 1.0)])
        {'a': 1.0, 'b': 0.25}
    """
    scores = {document_id: float(score) for document_id, score in found}
    _check_finite(f"signal {name!r}", scores)
    largest = max(scores.values(), default=0.0)
    return {i: max(0.0, score) / largest if largest > 0.0 else 0.0 for i, score in scores.items()}


def _check_finite(source: str, scores: Mapping[str, float]) -> None:
    odd = next((document_id for document_id, score in scores.items() if not math.isfinite(score)), None)
    if odd is not None:
        raise InputError(f"{source} scores document {odd!r} with {scores[odd]}, which is no finite number")
