"""Write what the benches measured where people read it: README.md's tables, docs/accuracy.md, docs/speed.md, a picture.

    python tests/bench/pages.py            write them
    python tests/bench/pages.py --check    say which are not what results/ holds, and fail

Nothing is measured here. A table of README.md stands between ``<!-- table: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from _method_pictures import method_pictures
from _picture import gain_picture
from _tables import markdown

HERE = Path(__file__).resolve().parent
ROOT, RESULTS = HERE.parents[1], HERE / "results"

TEN_ROWS = (
    *("none", "PEFA-XS", "nudge-ft M", "nudge-ft N", "trained query map", "ridge", "nudge-n", "contrastive"),
    *("query-map+nudge", "auto"),
)
TITLES = {"test": "test queries", "unseen": "unlabelled documents", "clusters": "another topic"}
ABOUT = {
    "test": "## Queries like those that were learned from\n\nLabels pooled and split 70/10/20 by query.",
    "unseen": "## Documents that nobody labelled\n\nQueries whose relevant documents are among 30 % of the documents, "
    "whose labels were taken away.",
    "clusters": "## Queries about another topic\n\nQueries of one of two k-means clusters, where all labels are of the "
    "other one.",
}
METRICS = {"ndcg@10": "nDCG@10", "recall@10": "recall@10", "hit@1": "hit@1"}


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def accuracy_table(measured: dict[str, Any], title: str, metric: str, rows: tuple[str, ...] | None = None) -> str:
    names = rows or tuple(next(iter(measured.values()))["methods"])
    cells = [
        [_shown(row), *(f"{measured[name]['methods'][row][metric]['mean']:.1f}" for name in measured)] for row in names
    ]
    return markdown([title, *measured], cells)


def _shown(row: str) -> str:
    return f"**{row}**" if row.startswith("auto") and "alone" not in row else row


def cost_table() -> str:
    rows = [
        [row["collection"], f"{row['documents']:,}", f"{row['labelled queries']:,}", f"{row['seconds']:.1f}"]
        for row in read("cost.json")["rows"]
    ]
    return markdown(["collection", "documents", "labelled queries", "seconds"], rows)


def finetune_table() -> str:
    measured = read("finetune.json")["rows"]
    encoders = [name for name in measured if " + " not in name]
    nudges = ("nudge-n", "nudge-m", "contrastive")
    rows = [
        [
            "as it is" if encoder == "none" else encoder,
            *(f"{measured[name]['ndcg@10']:.1f}" for name in (encoder, *(f"{encoder} + {nudge}" for nudge in nudges))),
        ]
        for encoder in encoders
    ]
    return markdown(["fine-tuned encoder", "alone", *(f"+ {nudge}" for nudge in nudges)], rows)


def accuracy_page() -> str:
    tables = read("accuracy.json")["tables"]
    parts = [
        "# Accuracy\n\nEvery figure is in percent, the mean of seeds 0, 1 and 2, with all-MiniLM-L6-v2. Rows of this "
        "package choose everything by leave-one-out, or folds, of training and validation queries; the test queries "
        "are read once. [nudge-ft](https://pypi.org/project/nudge-ft/) is the paper's own code; it tunes on "
        "validation queries, and so does the trained query map. `auto` is the default.",
        (RESULTS / "notes.md").read_text(encoding="utf-8").strip(),
    ]
    for name, measured in tables.items():
        parts.append(ABOUT[name])
        parts += [f"### {METRICS[metric]}\n\n{accuracy_table(measured, TITLES[name], metric)}" for metric in METRICS]
    parts += [
        "## With the scores of words added\n\n" + (RESULTS / "fusion.md").read_text(encoding="utf-8").strip(),
        "## Encoders that were fine-tuned on the same labels\n\nscifact, seed 0, nDCG@10; validation queries choose "
        "the step, as in the paper.\n\n" + finetune_table(),
        "## Measure it again\n\n```sh\npython tests/bench/accuracy.py --json > tests/bench/results/accuracy.json\n"
        "python tests/bench/pages.py\n```\n\nThe protocol, and what each row is, stands in "
        "[tests/bench](../tests/bench/README.md).",
    ]
    return "\n\n".join(parts) + "\n"


OLDER = "Below, the case `default` is of today's code; the others were measured with 0.1.0."


def speed_page() -> str:
    measured = (RESULTS / "speed.md").read_text(encoding="utf-8").strip().removeprefix("# Speed").strip()
    return f"# Speed\n\n## The default\n\n{read('cost.json')['what']}.\n\n{cost_table()}\n\n{OLDER}\n\n{measured}\n"


def generated_table() -> str:
    found = read("generated.json")["collections"]
    rows = [
        [row, *(f"{one[row]['ndcg@10']:.1f} ({one[row]['labels']:,})" for one in found.values())]
        for row in next(iter(found.values()))
    ]
    return markdown(["nDCG@10 (labels)", *found], rows)


def filled(path: Path, tables: dict[str, str]) -> str:
    """A page with its tables put where it has places for them."""
    text = path.read_text(encoding="utf-8")
    for name, table in tables.items():
        place = re.compile(rf"<!-- table: {name} -->\n.*?<!-- end -->", re.DOTALL)
        found = list(place.finditer(text))
        if len(found) != 1:
            raise SystemExit(f"{path.name} has {len(found)} places for the table {name!r}; expected 1")
        start, end = found[0].span()
        text = f"{text[:start]}<!-- table: {name} -->\n\n{table}\n\n<!-- end -->{text[end:]}"
    return text


def readme() -> str:
    accuracy = accuracy_table(read("accuracy.json")["tables"]["test"], "nDCG@10", "ndcg@10", TEN_ROWS)
    return filled(ROOT / "README.md", {"accuracy": accuracy, "cost": cost_table()})


def pages() -> dict[Path, str]:
    """Every file that is written, and what it is to hold."""
    docs = ROOT / "docs"
    return {
        ROOT / "README.md": readme(),
        docs / "accuracy.md": accuracy_page(),
        docs / "speed.md": speed_page(),
        docs / "no-labels.md": filled(docs / "no-labels.md", {"generated": generated_table()}),
        **{docs / "pictures" / name: drawn for name, drawn in method_pictures().items()},
        docs / "pictures" / "gain.svg": gain_picture(read("accuracy.json")["tables"]["test"]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is not up to date")
    old = []
    check = parser.parse_args().check
    for path, text in pages().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        old.append(path.relative_to(ROOT).as_posix())
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if check and old:
        sys.stderr.write(f"not what tests/bench/results holds: {', '.join(old)}; run python tests/bench/pages.py\n")
    return int(check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
