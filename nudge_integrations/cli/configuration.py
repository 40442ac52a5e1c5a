"""A commented nudge.toml for the data at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nudge_integrations.cli.estimate import in_words

__all__ = ["configuration"]

_FEW, _COVERED = 30, 0.8


def configuration(path: Path, labels: Mapping[str, Any], seconds: float, extras: Mapping[str, bool], seed: int) -> str:
    """Write the file.

    Args:
        path: The dataset.
        labels: What `labels_of` says of it.
        seconds: How long the fit is expected to take.
        extras: What is installed.
        seed: Seed of the split.
    """
    name = path.name.removesuffix(".json") or "nudge"
    comments = [f"# {line}" for line in _about(labels, seconds)]
    lines = [
        "# Options of `nudge fit --config nudge.toml`; the command line wins over them. `nudge fit --help` lists all.",
        *comments,
        "",
        "[fit]",
        f"dataset = {_text(path.as_posix())}",
        'encoder = "all-MiniLM-L6-v2" # any sentence-transformers model, by name or path',
        f"output = {_text(f'{name}-nudged')}",
        f"seed = {seed}",
        'cache = "embeddings" # vectors by text: nothing is embedded twice',
        "",
        *_choices(labels, extras),
    ]
    return "\n".join(lines) + "\n"


def _about(labels: Mapping[str, Any], seconds: float) -> Iterator[str]:
    yield (
        f"{labels['documents']:,} documents; {labels['labelled_queries']:,} labelled queries to learn from, "
        f"{labels['test_queries']:,} to test on ({labels['split']})."
    )
    yield (
        f"{labels['labelled_documents']:,} documents have a label, {labels['labelled_twice']:,} of them two or more; "
        f"{labels['test_documents_labelled']:.0%} of those that the test asks for have one."
    )
    yield f"The fit itself takes about {in_words(seconds)} here, once all texts are embedded."
    if labels["labelled_queries"] < _FEW:
        yield f"Fewer than {_FEW} labelled queries: expect that nothing is changed."


def _choices(labels: Mapping[str, Any], extras: Mapping[str, bool]) -> Iterator[str]:
    yield 'metric = "ndcg@10" # what is maximised: hit@k, recall@k, precision@k, mrr@k, map@k, ndcg@k'
    protect = labels["test_documents_labelled"] < _COVERED
    yield "# How much queries for documents without a label count; 0.5 protects them."
    yield f"{'' if protect else '# '}unseen-weight = 0.5"
    if not extras["lexical"]:
        yield "# Scores of words (BM25) beside vectors, for names and codes: pip install 'nudge-integrations[lexical]'"
    else:
        yield "# Scores of words (BM25) beside vectors, with the weight that the labels choose."
    yield f'{"" if extras["lexical"] else "# "}signals = ["bm25"]'
    yield "# At most so many seconds; what there is no time for is left out and named."
    yield "# max-seconds = 60"


def _text(text: str) -> str:
    # JSON's strings are TOML's.
    return json.dumps(text, ensure_ascii=False)
