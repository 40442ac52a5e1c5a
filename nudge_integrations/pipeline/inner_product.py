"""Documents that are ranked by inner product, fitted as documents of one length.

The solver ranks by cosine. One more coordinate gives all documents one length without changing any inner product (see
`nudge_integrations.index.with_extra_coordinate`), so that what it finds for these is exact for those: a moved document,
without that coordinate, has with every query the inner product that the solver ranked by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nudge_integrations.corpus import as_rows, row_lengths
from nudge_integrations.errors import InputError
from nudge_integrations.index import with_extra_coordinate, with_zero_coordinate
from nudge_integrations.solver import Solution

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["InnerProduct", "similarity_of"]

# Lengths that differ by less are those of a model that gives unit vectors, in half precision say.
_ONE_LENGTH = 1e-3


def similarity_of(encoder: object, similarity: str | None = None) -> Literal["cosine", "dot"]:
    """Return what a model's vectors are ranked by: what was asked for, else what the encoder says, else cosine.

    Raises:
        InputError: If it is neither ``"cosine"`` nor ``"dot"``.
    """
    said = getattr(encoder, "similarity", None)
    # Models of frameworks have a method of that name, which compares two vectors.
    found = similarity or (said if isinstance(said, str) else "cosine")
    if found not in ("cosine", "dot"):
        raise InputError(f"similarity must be 'cosine' or 'dot'; got {found!r}")
    return "dot" if found == "dot" else "cosine"


@dataclass(frozen=True, eq=False)
class InnerProduct:
    """Documents with one more coordinate, all of one length.

    Attributes:
        documents: (n, d + 1) float32.
        norm: Their length, the largest of any document.
    """

    documents: NDArray[np.float32]
    norm: float

    @classmethod
    def of(cls, documents: Any) -> InnerProduct | None:
        """Add the coordinate to (n, d) documents; None where all have one length, which cosine ranks alike.

        Raises:
            InputError: If a vector is not finite.
        """
        rows = as_rows(documents, "document vectors")
        lengths = row_lengths(rows, "document vectors")
        norm = float(lengths.max(initial=0.0))
        if not norm or float(lengths.min()) >= norm * (1 - _ONE_LENGTH):
            return None
        return cls(with_extra_coordinate(rows, norm), norm)

    def queries(self, queries: Any) -> NDArray[np.float32]:
        """Return (m, d + 1) queries whose inner products are those of (m, d) queries."""
        return with_zero_coordinate(queries)

    def lowered(self, solution: Solution) -> Solution:
        """Return a solution for these documents as one for the documents that they were made from."""
        return replace(solution, vectors=solution.vectors[:, :-1] * np.float32(self.norm), similarity="dot")

    def check(self, method: str, methods_with_maps: tuple[str, ...], *, shift: bool, signals: bool) -> None:
        """Refuse what would move the additional coordinate of all documents or of queries, which are served without it.

        Signals are weighed beside the cosine of unit vectors; inner products of other lengths are on another scale.

        Raises:
            InputError: If a query map, a shift or signals were asked for.
        """
        if signals:
            raise InputError(
                "signals are weighed beside documents that are ranked by cosine, and these are ranked by inner product "
                "and have several lengths: leave signals= out, or normalise the vectors and rank by cosine"
            )
        if method in methods_with_maps or shift:
            what = "a shift" if shift else f"method={method!r}"
            raise InputError(
                f"{what} is fitted to documents that are ranked by cosine, and these are ranked by inner product and "
                "have several lengths: ask for a nudge alone, or normalise the vectors and rank by cosine"
            )
