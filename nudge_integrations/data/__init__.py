"""Data that ships inside the package: `METATOOL`, a piece of the MetaTool benchmark, which ``nudge demo`` runs on.

Example:
    >>> sorted(path.name for path in METATOOL.iterdir())
    ['LICENSE', 'README.md', 'corpus.jsonl', 'qrels', 'queries.jsonl']
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["METATOOL"]

METATOOL = Path(__file__).parent / "metatool"
"""BEIR folder: 199 tool descriptions, 2,400 train and 600 test requests; its README says more, its LICENSE is MIT."""
