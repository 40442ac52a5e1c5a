"""Train, validation and test labels over one corpus: read from a BEIR folder or from a file, or drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from nudge_integrations.dataset.beir import has_split
from nudge_integrations.dataset.label_weights import LabelWeights, read_weights, weights_of_queries
from nudge_integrations.dataset.retrieval_dataset import RetrievalDataset
from nudge_integrations.errors import DatasetError

__all__ = ["Splits"]

_FRACTIONS = (0.7, 0.1, 0.2)
# Fewer validation queries than this say less about the step than leave-one-out over all that are learned from.
_FEWEST_VALIDATION = 5


@dataclass(frozen=True)
class Splits:
    """Three sets of queries over one corpus.

    Attributes:
        train: Labels to learn from.
        validation: Labels to choose the step on; None chooses it on train, leaving each query out in turn.
        test: Labels to evaluate on.
        origin: Where the split comes from, in words.
        weights: How much labels count, where the file or folder has weights beside it; None: all count 1.

    Example:
        >>> from nudge_integrations.data import METATOOL
        >>> splits = Splits.read(METATOOL)
        >>> len(splits.train), splits.validation, len(splits.test)
        (2400, None, 600)
    """

    train: RetrievalDataset
    validation: RetrievalDataset | None
    test: RetrievalDataset
    origin: str
    weights: LabelWeights | None = None

    @classmethod
    def read(cls, path: str | Path, seed: int = 0) -> Splits:
        """Read a dataset and its splits.

        A BEIR folder with labels ``train`` and ``test`` (``qrels/train.tsv``, or in another form that
        `RetrievalDataset.from_beir` reads) keeps them, and ``dev`` for validation where it exists. All labels of any
        other folder, and of a file, are pooled and split by query, 70 / 10 / 20, the shares of the NUDGE paper; with
        fewer than 50 queries 80 / 20, without validation.

        Args:
            path: A BEIR folder, a LlamaIndex question-answer JSON, or a table as `RetrievalDataset.from_table` reads.
            seed: Seed of a random split.

        Raises:
            DatasetError: If there is no such dataset, or it cannot be read.
        """
        path = Path(path)
        if not path.exists():
            raise DatasetError(f"{path} does not exist; expected a BEIR folder, a question-answer JSON or a table")
        return replace(cls._read(path, seed), weights=read_weights(path))

    @classmethod
    def _read(cls, path: Path, seed: int) -> Splits:
        if path.is_file():
            return cls._drawn(RetrievalDataset.from_object(path), seed)
        names = [name for name in ("train", "dev", "test") if has_split(path, name)]
        if not names:
            raise DatasetError(
                f"{path} holds no labels of train, dev or test (qrels/train.tsv or .jsonl, ...): it is no BEIR folder"
            )
        parts = {name: RetrievalDataset.from_beir(path, name) for name in names}
        if "train" in parts and "test" in parts:
            origin = f"the folder's own qrels ({', '.join(names)})"
            return cls(parts["train"], parts.get("dev"), parts["test"], origin)
        first, *rest = parts.values()
        for part in rest:
            first = first.merge(part)
        return cls._drawn(first, seed)

    @classmethod
    def _drawn(cls, dataset: RetrievalDataset, seed: int) -> Splits:
        few = _FRACTIONS[1] * len(dataset.queries) < _FEWEST_VALIDATION
        fractions = (_FRACTIONS[0] + _FRACTIONS[1], _FRACTIONS[2]) if few else _FRACTIONS
        shares = " / ".join(f"{share:.0%}" for share in fractions)
        train, *validation, test = dataset.split(fractions, seed=seed)
        return cls(train, validation[0] if validation else None, test, f"{shares} by query, seed {seed}")

    def without_validation(self) -> Splits:
        """Return the same with the validation labels to learn from, so that each query is left out in turn.

        Raises:
            DatasetError: If train and validation contradict each other.
        """
        if self.validation is None:
            return self
        return replace(self, train=self.train.merge(self.validation), validation=None)

    def check(self) -> None:
        """Refuse what `fit` and `evaluate` would refuse, before anything is encoded.

        Raises:
            DatasetError: If a part has problems; they are counted and named.
        """
        for part in self._parts().values():
            part.validate().raise_for_problems()

    def repaired(self) -> tuple[Splits, list[str]]:
        """Leave out what is wrong with the data.

        Returns:
            Splits that can be fitted, and for each part with problems a line that says what was left out.
        """
        repairs = {name: part.repaired() for name, part in self._parts().items()}
        lines = [f"Left out of {name}: {report}" for name, (_, report) in repairs.items() if not report.ok]
        better = {name: part for name, (part, _) in repairs.items()}
        return replace(self, train=better["train"], validation=better.get("validation"), test=better["test"]), lines

    @property
    def train_weights(self) -> LabelWeights | None:
        """How much the labels of ``train`` count, as `fit` takes it."""
        return weights_of_queries(self.weights, self.train.queries)

    def _parts(self) -> dict[str, RetrievalDataset]:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}
