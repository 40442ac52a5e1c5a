r"""Labelled queries against documents that were nudged without their own labels.

A query map after a nudge must be fitted to, and evaluated by, documents that the query itself did not move.
Leaving one query q with weight w out of G = W^T Q changes only scalars, see
`nudge_integrations.solver.leave_one_out`: with h' = D.G', s' = |G'|^2, n' = sqrt(s' - h'^2) and the angle
t' = min(t, atan2(n', h')),

    D'(t) = a D + b (G - w q),      b = sin(t') / n',      a = cos(t') - b h'

so its inner product with any vector, and any sum of such documents, comes from products with D and with G. Ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from nudge_integrations.selection.evaluator import Evaluator
from nudge_integrations.solver.arrays import row_blocks
from nudge_integrations.solver.prepare import Prepared
from nudge_integrations.solver.problem import Targets
from nudge_integrations.solver.topk import read_corpus

__all__ = ["MovedCorpus"]

# Below this part of its length a sum has no direction left across its document.
_ALONG = 1e-4


@dataclass(frozen=True, eq=False)
class _Moved:
    """Some queries' labelled documents as a D + b (G - w q), all (c, u)."""

    rows: NDArray[np.int64]
    along_document: torch.Tensor
    along_sum: torch.Tensor
    weight: torch.Tensor


@dataclass(frozen=True, eq=False)
class MovedCorpus:
    """A nudge of the corpus as each query sees it, without that query's own label.

    Attributes:
        prepared: The labels, and what is left of the corpus.
        targets: Where documents move, along an arc.
        step: The angle that they turn by, at most.
        evaluator: The corpus and the evaluation queries.
    """

    prepared: Prepared
    targets: Targets
    step: float
    evaluator: Evaluator

    def residuals(self, rows: NDArray[np.int64], temperatures: tuple[float, ...]) -> dict[float, torch.Tensor]:
        """Return (Ybar - softmax(q D'^T / tau)) D' of labelled queries: for each temperature (len(rows), d) float32."""
        labels, sample = self.prepared.labels, self.prepared.sample
        weight = float(np.log(self.prepared.others / max(1, len(sample)))) if len(sample) else 0.0
        results: dict[float, list[torch.Tensor]] = {temperature: [] for temperature in temperatures}
        for moved in self._blocks(rows, relevant_at_rest=False):
            queries = labels.queries[torch.from_numpy(moved.rows)]
            scores = torch.cat([self._scores(moved, queries), queries @ sample.T], dim=1)
            gains = labels.gains[moved.rows]
            shares = torch.from_numpy((gains.toarray() / gains.sum(axis=1)[:, None]).astype(np.float32)).to(scores)
            for temperature, parts in results.items():
                logits = scores / temperature
                logits[:, shares.shape[1] :] += weight
                soft = torch.softmax(logits, dim=1)
                parts.append(
                    self._combined(moved, shares - soft[:, : shares.shape[1]], queries)
                    - soft[:, shares.shape[1] :] @ sample
                )
        return {temperature: torch.cat(parts) for temperature, parts in results.items()}

    def of(self, queries: torch.Tensor, *, relevant_at_rest: bool = False) -> NDArray[np.float64]:
        """Return (e,) float64, the metric of the evaluation rows of queries (m, d) float32.

        With ``relevant_at_rest`` the relevant documents of a query stay where they were, as if they had no label.
        """
        rows, k = self.evaluator.rows, self.evaluator.metric.k
        evaluated = queries[torch.from_numpy(rows).to(queries.device)]
        nothing = np.zeros(0, np.int64)
        static = read_corpus(
            self.evaluator.documents,
            self.prepared.labels.rows,
            nothing,
            evaluated,
            k,
            block_bytes=self.evaluator.block_bytes,
        )
        labelled = torch.from_numpy(self.prepared.labels.rows).to(evaluated.device)
        results: list[NDArray[np.int64]] = []
        done = 0
        for moved in self._blocks(rows, relevant_at_rest=relevant_at_rest):
            part = slice(done, done + len(moved.rows))
            done = part.stop
            best = torch.topk(self._scores(moved, evaluated[part]), min(k, len(labelled)), dim=1)
            scores = torch.cat([best.values, static.scores[part]], dim=1)
            candidates = torch.cat([labelled[best.indices], static.rows[part]], dim=1)
            by_row = candidates.argsort(dim=1)
            order = scores.gather(1, by_row).argsort(dim=1, descending=True, stable=True)[:, :k]
            results.append(candidates.gather(1, by_row.gather(1, order)).cpu().numpy())
        return self.evaluator.of_results(np.concatenate(results))

    def _blocks(self, rows: NDArray[np.int64], *, relevant_at_rest: bool) -> Iterator[_Moved]:
        at_once = max(1, self.evaluator.block_bytes // (40 * max(1, len(self.prepared.labels.rows))))
        for part in row_blocks(len(rows), at_once):
            yield self._moved(rows[part], relevant_at_rest=relevant_at_rest)

    def _moved(self, rows: NDArray[np.int64], *, relevant_at_rest: bool) -> _Moved:
        labels, targets = self.prepared.labels, self.targets
        queries = labels.queries[torch.from_numpy(rows)]
        base, along = queries @ labels.documents.T, queries @ targets.sums.T
        weight = _dense(targets.direction.weights(labels.gains)[rows], base)
        if targets.direction.temperature is not None:
            weight = weight + targets.direction.negative_weights(base, rows)
        squared = targets.sums.square().sum(dim=1) - weight * (2.0 * along - weight)
        inner = (targets.sums * labels.documents).sum(dim=1) - weight * base
        across = (squared - inner.square()).clamp_min(0.0).sqrt()
        angle = torch.atan2(across, inner).clamp(max=self.step)
        relevant = _dense(labels.gains[rows], base) > 0.0
        last = torch.from_numpy(labels.support() < 2).to(base.device) & relevant
        moving = (
            torch.from_numpy(targets.moving).to(base.device) & ~last & (across > _ALONG * squared.clamp_min(0).sqrt())
        )
        if relevant_at_rest:
            moving &= ~relevant
        along_sum = torch.where(moving, torch.sin(angle) / across.clamp_min(1e-30), 0.0)
        return _Moved(rows, torch.where(moving, torch.cos(angle) - along_sum * inner, 1.0), along_sum, weight)

    def _scores(self, moved: _Moved, queries: torch.Tensor) -> torch.Tensor:
        """Return (c, u) inner products of vectors with each one's own labelled documents."""
        labels = self.prepared.labels
        own = (queries * labels.queries[torch.from_numpy(moved.rows)]).sum(dim=1, keepdim=True)
        across = queries @ self.targets.sums.T - moved.weight * own
        return moved.along_document * (queries @ labels.documents.T) + moved.along_sum * across

    def _combined(self, moved: _Moved, weights: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """Return (c, d) sums of each one's own labelled documents with weights (c, u)."""
        turned = weights * moved.along_sum
        total = (weights * moved.along_document) @ self.prepared.labels.documents + turned @ self.targets.sums
        return total - (turned * moved.weight).sum(dim=1, keepdim=True) * queries


def _dense(matrix: sparse.csr_array, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(matrix.toarray()).to(like)
