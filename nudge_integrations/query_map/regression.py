r"""Ridge regression on queries, and its exact answers for queries that were left out.

Q^T Q is decomposed once, so that every penalty is a rescaling. With H = Q K Q^T a group g of queries is answered
without itself by (I - H_gg)^-1 (Q_g K Q^T R - H_gg R_g), which for a single query is (q M - h r) / (1 - h).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh

__all__ = ["Regression"]


@dataclass(frozen=True, eq=False)
class Regression:
    """Ridge regression on queries for every penalty at once, in the eigenbasis of Q^T Q.

    Attributes:
        energy: (d,) the eigenvalues of Q^T Q; like the rest float64 where queries are few, else float32.
        basis: (d, d) its eigenvectors, one a column.
        rotated: (t, d) Q times the basis.
    """

    energy: torch.Tensor
    basis: torch.Tensor
    rotated: torch.Tensor

    @classmethod
    def on(cls, queries: torch.Tensor) -> Regression:
        """Prepare regressions on queries (t, d)."""
        rows = queries.double()
        energy, basis = (torch.from_numpy(part).to(rows) for part in eigh((rows.T @ rows).cpu().numpy()))
        # Fewer queries than dimensions leave next to nothing of 1 - h, which float32 would lose.
        exact = rows if len(queries) < queries.shape[1] else queries
        return cls(energy.to(exact).clamp_min(0.0), basis.to(exact), exact @ basis.to(exact))

    def inverse(self, penalty: float) -> torch.Tensor:
        """Return (d,) the eigenvalues of K."""
        return 1.0 / (self.energy + penalty * self.energy.mean().clamp_min(1e-12))

    def products(self, responses: torch.Tensor) -> torch.Tensor:
        """Return Q^T R in the eigenbasis, (d, d), for responses R (t, d): what every penalty shares."""
        return self.rotated.T @ responses.to(self.rotated)

    def fit(self, products: torch.Tensor, penalty: float) -> torch.Tensor:
        """Return K Q^T R, (d, d) float32, of such products."""
        return (self.basis @ (self.inverse(penalty)[:, None] * products)).float()

    def left_out(
        self,
        responses: torch.Tensor,
        products: torch.Tensor,
        penalty: float,
        groups: NDArray[np.int64],
        places: NDArray[np.int64],
    ) -> torch.Tensor:
        """Return the predictions (p, d) for some of the queries, each without its group."""
        inverse = self.inverse(penalty)
        at = torch.from_numpy(places).to(responses.device)
        own, theirs = self.rotated[at], responses[at].to(self.rotated)
        leverage = (own.square() @ inverse)[:, None]
        found = (((own * inverse) @ products - leverage * theirs) / (1.0 - leverage)).to(responses)
        for members in _groups_of_many(groups, places):
            answers = self._without_themselves(members, responses, inverse, products)
            # Where each member is among the places, if it is.
            place = np.minimum(np.searchsorted(places, members.numpy().ravel()), len(places) - 1)
            asked = np.flatnonzero(places[place] == members.numpy().ravel())
            found[torch.from_numpy(place[asked])] = answers.flatten(0, 1)[torch.from_numpy(asked)]
        return found

    def _without_themselves(
        self, members: torch.Tensor, responses: torch.Tensor, inverse: torch.Tensor, products: torch.Tensor
    ) -> torch.Tensor:
        """Return the predictions (b, s, d) for b groups of s queries each, without the group."""
        own, theirs = self.rotated[members].double(), responses[members].double()
        inverse, products = inverse.double(), products.double()
        if members.shape[1] <= len(inverse):
            block = (own * inverse) @ own.mT
            rest = torch.eye(members.shape[1], dtype=block.dtype, device=block.device) - block
            answers = torch.linalg.solve(rest, (own * inverse) @ products - block @ theirs)
        else:
            rest = torch.diag(1.0 / inverse) - own.mT @ own
            answers = own @ torch.linalg.solve(rest, products - own.mT @ theirs)
        found: torch.Tensor = answers.to(responses)
        return found


def _groups_of_many(groups: NDArray[np.int64], places: NDArray[np.int64]) -> list[torch.Tensor]:
    """Return the members (b, s) of groups of several with a query among the places, those of one size together."""
    count = np.bincount(groups)
    wanted = np.unique(groups[places][count[groups[places]] > 1])
    order = np.argsort(groups, kind="stable")
    first = np.cumsum(count) - count
    found = []
    for size in np.unique(count[wanted]):
        codes = wanted[count[wanted] == size]
        found.append(torch.from_numpy(order[first[codes][:, None] + np.arange(size)]))
    return found
