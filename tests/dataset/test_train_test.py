"""Splits: a folder's own, or drawn by query; without an encoder or a fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_doubles import animal_dataset, animal_folder

from nudge_integrations.dataset import RetrievalDataset, Splits
from nudge_integrations.errors import DatasetError


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    return animal_folder(tmp_path / "animals")


def test_own_train_and_test_qrels_are_kept(beir: Path) -> None:
    splits = Splits.read(beir)
    assert (len(splits.train), splits.validation, len(splits.test)) == (96, None, 24)
    assert not set(splits.train.queries) & set(splits.test.queries)


def test_dev_qrels_become_the_validation_set(beir: Path) -> None:
    dataset = animal_dataset()
    extra = RetrievalDataset(dataset.corpus, {"extra": "who can purr"}, {"extra": {"cat": 1}})
    extra.to_beir(beir, "dev")
    validation = Splits.read(beir).validation
    assert validation is not None
    assert list(validation.queries) == ["extra"]


@pytest.mark.parametrize("form", ["json", "beir with test only", "beir without test"])
def test_labels_without_a_split_are_split_by_query(form: str, tmp_path: Path) -> None:
    path = tmp_path / "dataset"
    if form == "json":
        animal_dataset().to_json(path)
    else:
        animal_dataset().to_beir(path, "test" if form == "beir with test only" else "train")
    splits = Splits.read(path, seed=3)
    assert splits.validation is not None
    parts = [set(part.queries) for part in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in parts] == [84, 12, 24]
    assert len(set.union(*parts)) == 120
    assert splits.origin == "70% / 10% / 20% by query, seed 3"


@pytest.mark.parametrize("kind", ["absent", "empty folder"])
def test_what_is_no_dataset_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path if kind == "empty folder" else tmp_path / "absent"
    with pytest.raises(DatasetError, match=str(path)):
        Splits.read(path)


def test_repaired_splits_can_be_fitted_and_name_what_was_left_out(beir: Path) -> None:
    splits = Splits.read(beir)
    broken = RetrievalDataset(splits.train.corpus, {**splits.train.queries, "lost": "who?"}, splits.train.qrels)
    wrong = Splits(broken, None, splits.test, splits.origin)
    with pytest.raises(DatasetError, match="lost"):
        wrong.check()
    better, lines = wrong.repaired()
    better.check()
    assert (better.train.hash, better.validation, better.test.hash) == (splits.train.hash, None, splits.test.hash)
    assert len(lines) == 1
    assert lines[0].startswith("Left out of train: ")
