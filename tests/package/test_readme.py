"""README.md and the pages of figures hold what the benches printed, and nothing else. (tests/package/test_docs.py runs
their code.)"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BENCH = ROOT / "tests" / "bench"


def test_it_is_a_page() -> None:
    assert README.count("\n") <= 150
    assert README.count("```python") == 3


def test_tables_pages_and_pictures_are_what_the_benches_printed() -> None:
    done = subprocess.run(
        [sys.executable, "pages.py", "--check"], cwd=BENCH, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_s_table_is_that_of_the_results() -> None:
    measured = json.loads((BENCH / "results" / "accuracy.json").read_text(encoding="utf-8"))["tables"]["test"]
    table = re.search(r"^\| nDCG@10 \|(.+)\|\n\| ---.+\n((?:\|.+\n)+)", README, flags=re.MULTILINE)
    assert table is not None
    collections = [name.strip() for name in table[1].split("|")]
    assert collections == list(measured)
    lines = table[2].splitlines()
    assert len(lines) == 10
    for line in lines:
        row, *cells = [cell.strip(" *`") for cell in line.strip("|").split("|")]
        means = [measured[name]["methods"][row]["ndcg@10"]["mean"] for name in collections]
        assert cells == [f"{mean:.1f}" for mean in means], row
