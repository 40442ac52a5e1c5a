"""Train, validation and test labels, read from a BEIR folder or a question-answer JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError

__all__ = ["FRACTIONS", "Splits", "read_splits", "repaired"]

FRACTIONS = (0.7, 0.1, 0.2)
"""Shares of train, validation and test where the data brings no split: those of the NUDGE paper."""


@dataclass(frozen=True)
class Splits:
    """Three sets of queries over one corpus.

    Attributes:
        train: Labels to learn from.
        validation: Labels to choose the step on; None chooses it on train, leaving each query out in turn.
        test: Labels to evaluate on.
        origin: Where the split comes from, in words.
    """

    train: RetrievalDataset
    validation: RetrievalDataset | None
    test: RetrievalDataset
    origin: str

    def check(self) -> None:
        """Refuse what `fit` and `evaluate` would refuse, before anything is encoded.

        Raises:
            DatasetError: If a part has problems; they are counted and named.
        """
        for part in (self.train, self.validation, self.test):
            if part is not None:
                part.validate().raise_for_problems()


def read_splits(path: Path, seed: int = 0) -> Splits:
    """Read a dataset and its splits.

    A BEIR folder with ``qrels/train.tsv`` and ``qrels/test.tsv`` keeps them, and ``qrels/dev.tsv`` for validation where
    it exists. All labels of any other folder, and of a JSON, are pooled and split by query, 70 / 10 / 20.

    Args:
        path: A BEIR folder or a LlamaIndex question-answer JSON.
        seed: Seed of a random split.

    Returns:
        Train, validation and test.

    Raises:
        DatasetError: If there is no such dataset, or it cannot be read.
    """
    if not path.exists():
        raise DatasetError(f"{path} does not exist; expected a BEIR folder or a LlamaIndex question-answer JSON")
    if path.is_file():
        return _drawn(RetrievalDataset.from_json(path), seed)
    names = [name for name in ("train", "dev", "test") if (path / "qrels" / f"{name}.tsv").is_file()]
    if not names:
        raise DatasetError(f"{path} holds no qrels/train.tsv, qrels/dev.tsv or qrels/test.tsv: it is no BEIR folder")
    parts = {name: RetrievalDataset.from_beir(path, name) for name in names}
    if "train" in parts and "test" in parts:
        origin = f"the folder's own qrels ({', '.join(names)})"
        return Splits(parts["train"], parts.get("dev"), parts["test"], origin)
    first, *rest = parts.values()
    for part in rest:
        first = first.merge(part)
    return _drawn(first, seed)


def repaired(splits: Splits) -> tuple[Splits, list[str]]:
    """Leave out what is wrong with the data.

    Args:
        splits: As they were read.

    Returns:
        Splits that can be fitted, and for each part with problems a line that says what was left out.
    """
    lines: list[str] = []

    def repair(name: str, part: RetrievalDataset) -> RetrievalDataset:
        better, report = part.repaired()
        if not report.ok:
            lines.append(f"Left out of {name}: {report}")
        return better

    train = repair("train", splits.train)
    validation = None if splits.validation is None else repair("validation", splits.validation)
    return Splits(train, validation, repair("test", splits.test), splits.origin), lines


def _drawn(dataset: RetrievalDataset, seed: int) -> Splits:
    train, validation, test = dataset.split(FRACTIONS, seed=seed)
    shares = " / ".join(f"{share:.0%}" for share in FRACTIONS)
    return Splits(train, validation, test, f"{shares} by query, seed {seed}")
