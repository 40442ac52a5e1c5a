"""Whether nudged vectors fit into a vector store of LlamaIndex."""

from __future__ import annotations

from llama_index.core.vector_stores.types import BasePydanticVectorStore

from nudge_integrations.artifact import Nudge
from nudge_integrations.errors import SimilarityError
from nudge_integrations.stores import ranks_by, width_of

__all__ = ["needs_extra_coordinate"]


def needs_extra_coordinate(store: BasePydanticVectorStore, nudge: Nudge) -> bool:
    """Decide whether vectors go to a store with one more coordinate, so that it ranks them by inner product.

    Unit vectors rank alike under cosine, L2 and inner product and need none. Vectors with lengths need it everywhere
    but in a store that ranks by inner product itself. A store that has room for it gets it in any case.

    Raises:
        SimilarityError: If they need it and the store has no room, or the store is for vectors of another width.
    """
    ranking, width = ranks_by(store), width_of(store)
    needed = nudge.similarity == "dot" and ranking != "dot"
    if width is None:
        return needed
    if width == nudge.dimension + 1:
        return True
    if width == nudge.dimension and not needed:
        return False
    why = (
        f"{nudge.method} vectors have lengths that matter: give it room for {nudge.dimension + 1} numbers, for one "
        "more coordinate that makes it rank rightly, or take a store of inner products"
        if needed
        else f"the model's have {nudge.dimension}"
    )
    ranks = f"ranks by {ranking or 'an unknown similarity'}"
    raise SimilarityError(f"{type(store).__name__} {ranks} and is for vectors of {width} numbers; {why}")
