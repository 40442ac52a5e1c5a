"""The table of guarantees in the documentation is what every store says of itself."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from live_stores import KINDS, StoreKind, named

from nudge_integrations.stores import Lockable, StoreInfo, Transactional

# What these packages warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

PAGE = (Path(__file__).parents[2] / "docs" / "live-stores.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\w+) \| (.+) \|$", PAGE[PAGE.index("<!-- guarantees") :], flags=re.MULTILINE)
TABLE = {name: [cell.strip() for cell in cells.split("|")] for name, cells in ROWS if name != "store"}


def guarantees(info: StoreInfo, *, locks: bool) -> list[str]:
    """One line of the table."""
    return [
        "all together" if info.atomicity == "all" else "one by one, with a journal",
        "every number, as far as unit length allows" if info.tolerance else "every bit",
        "by the store and the journal's folder" if locks else "by the journal's folder",
        info.index or "none: exact",
    ]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_guarantees_are_what_the_store_says(kind: StoreKind, tmp_path: Path) -> None:
    store = kind.made(tmp_path, [named(row) for row in range(3)], np.eye(3, dtype=np.float32))
    assert TABLE[kind.name] == guarantees(store.info, locks=isinstance(store.adapter, Lockable))
    assert (store.info.atomicity == "all") == isinstance(store.adapter, Transactional)
    store.close()


def test_every_store_is_in_the_table() -> None:
    assert list(TABLE) == [kind.name for kind in KINDS]
