"""Fine-tuning a tiny random encoder: what each strategy may change, what it learns, and runs that are killed."""

from __future__ import annotations

import copy
import json
import random
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from tiny_encoder import planted_dataset, tiny_model
from transformers.trainer_pt_utils import safe_globals

from nudge_integrations import evaluate, fit
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.encoding import SentenceTransformerEncoder
from nudge_integrations.errors import (
    CorruptArtifactError,
    DatasetError,
    InputError,
    MismatchError,
    MissingExtraError,
)
from nudge_integrations.finetune import encoder as door
from nudge_integrations.finetune import finetune_encoder, training
from nudge_integrations.finetune.strategies import (
    STRATEGIES,
    Strategy,
    make_trainable,
    merged_weights,
    trained_names,
)
from nudge_integrations.finetune.validation import embedded, validation_score
from nudge_integrations.index import ExactIndex

# Small steps suffice to see what moves; these are large enough to learn the planted topics in seconds.
RATES: dict[Strategy, float] = {"full": 5e-3, "lora": 2e-2, "bias": 2e-2, "freeze": 1e-2}
QUICK: dict[str, Any] = {"batch_size": 8, "epochs": 2, "hard_negatives": 0, "progress": False}
WEIGHTS = "trained.safetensors"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SentenceTransformer:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def dataset() -> RetrievalDataset:
    return planted_dataset()


def state(encoder: SentenceTransformerEncoder | SentenceTransformer) -> dict[str, torch.Tensor]:
    inner = encoder.model if isinstance(encoder, SentenceTransformerEncoder) else encoder
    return {name: weight.clone() for name, weight in inner.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def loss_of(model: SentenceTransformer, dataset: RetrievalDataset) -> float:
    """The training loss over every topic once, without dropout."""
    queries = [text for query, text in dataset.queries.items() if query.startswith("who")]
    batch = [model.preprocess(texts) for texts in (queries, list(dataset.corpus.values()))]
    model.eval()
    with torch.no_grad():
        return float(MultipleNegativesRankingLoss(model)(batch, None))


def killed_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Make training die in the middle of a step, as a killed process does."""
    take = training._Trainer.training_step
    left = iter(range(steps))

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return take(self, *args, **kwargs)

    monkeypatch.setattr(training._Trainer, "training_step", step)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_lowers_the_loss_and_trains_only_what_it_should(
    strategy: Strategy, model: SentenceTransformer, dataset: RetrievalDataset
) -> None:
    before, flags = state(model), {name: weight.requires_grad for name, weight in model.named_parameters()}
    encoder = finetune_encoder(
        dataset, model, strategy=strategy, learning_rate=RATES[strategy], **QUICK | {"epochs": 4}
    )
    after = state(encoder)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    blocks = {name for name in before if ".layer." in name and name.endswith("weight") and "LayerNorm" not in name}
    allowed = blocks if strategy == "lora" else trained_names(model, strategy)
    unused = {name for name in before if ".pooler." in name}
    # A key's bias adds the same to all scores of a softmax, so that it has no gradient.
    flat = {name for name in before if name.endswith("key.bias")} | {n for n in before if "position" in n}
    assert moved <= allowed - unused
    assert allowed - unused - flat <= moved
    assert before.keys() == after.keys()
    assert loss_of(encoder.model, dataset) < loss_of(model, dataset)
    assert same(before, state(model))
    assert {name: weight.requires_grad for name, weight in model.named_parameters()} == flags
    assert {name: weight.requires_grad for name, weight in encoder.model.named_parameters()} == flags


def test_the_result_is_an_encoder_of_its_own_that_fit_takes(
    model: SentenceTransformer, dataset: RetrievalDataset
) -> None:
    base = SentenceTransformerEncoder(model, batch_size=5, query_prompt="who ", document_prompt="the ")
    train, validation = dataset.split((0.7, 0.3))
    options = QUICK | {"epochs": 8, "learning_rate": RATES["full"]}
    encoder = finetune_encoder(train, base, validation=validation, **options)
    assert encoder.fingerprint != base.fingerprint
    assert encoder.batch_size == 5
    assert encoder._prompts == {"query": "who ", "document": "the "}
    pooling = encoder.model[1]
    assert pooling.pooling_mode == model[1].pooling_mode == "mean"
    assert validation_score(validation, encoder) > validation_score(validation, base) + 0.2
    nudge = fit(train, encoder, method="nudge-n", step=0.2)
    assert nudge.encoder == encoder.fingerprint


def test_prompts_are_put_before_texts_in_training(
    model: SentenceTransformer, dataset: RetrievalDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []

    def arguments(**given: Any) -> SentenceTransformerTrainingArguments:
        seen.append(given["prompts"])
        return SentenceTransformerTrainingArguments(**given)

    monkeypatch.setattr(training, "SentenceTransformerTrainingArguments", arguments)
    base = SentenceTransformerEncoder(model, query_prompt="who ")
    finetune_encoder(dataset, base, **QUICK | {"epochs": 1, "hard_negatives": 2})
    assert seen == [{"query": "who "}]
    base = SentenceTransformerEncoder(model, document_prompt="the ")
    finetune_encoder(dataset, base, **QUICK | {"epochs": 1, "hard_negatives": 2})
    assert seen[1] == {"document": "the ", "negative_0": "the ", "negative_1": "the "}


def test_a_seed_reproduces_and_another_does_not_and_generators_stay(
    model: SentenceTransformer, dataset: RetrievalDataset
) -> None:
    before = random.getstate(), torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    first = state(finetune_encoder(dataset, model, seed=3, **QUICK))
    assert (random.getstate(), str(np.random.get_state())) == (before[0], before[2])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    torch.rand(5)
    assert same(first, state(finetune_encoder(dataset, model, seed=3, **QUICK)))
    assert not same(first, state(finetune_encoder(dataset, model, seed=4, **QUICK)))


@pytest.mark.parametrize(
    ("strategy", "check_every", "steps"),
    [("full", None, 8), ("full", 2, 3), ("lora", 2, 9), ("full", None, 2)],
    ids=["after an epoch", "within an epoch", "adapters", "before any checkpoint"],
)
def test_a_killed_run_ends_where_it_would_have(
    strategy: Strategy,
    check_every: int | None,
    steps: int,
    model: SentenceTransformer,
    dataset: RetrievalDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, validation = dataset.split((0.8, 0.2))
    options: dict[str, Any] = {"strategy": strategy, "check_every": check_every, "learning_rate": RATES[strategy]}
    options |= {"validation": validation, "patience": 9, **QUICK, "epochs": 3}
    whole = finetune_encoder(train, model, output_dir=tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        killed_after(patch, steps)
        with pytest.raises(KeyboardInterrupt):
            finetune_encoder(train, model, output_dir=tmp_path / "killed", **options)
    shutil.move(tmp_path / "killed", tmp_path / "moved")
    resumed = finetune_encoder(train, model, output_dir=tmp_path / "moved", resume=True, **options)
    assert same(state(whole), state(resumed))
    assert resumed.fingerprint == whole.fingerprint
    score = [json.loads((tmp_path / name / "finetune.json").read_text())["score"] for name in ("whole", "moved")]
    assert score[0] == score[1]
    if strategy != "lora":  # merging rounds, and this model's vectors are so near each other that ranks may change
        assert score[0] == pytest.approx(validation_score(validation, resumed))


def test_adapters_begin_as_nothing_and_are_merged_without_a_trace(
    model: SentenceTransformer, dataset: RetrievalDataset
) -> None:
    texts = list(dataset.corpus.values())
    adapted, merged = copy.deepcopy(model), copy.deepcopy(model)
    make_trainable(adapted, "lora", lora_rank=4, frozen_blocks=None)
    np.testing.assert_array_equal(adapted.encode(texts), model.encode(texts))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.linspace(-0.2, 0.2, weight.numel()).reshape(weight.shape))
    before = adapted.encode(texts)
    assert np.abs(before - model.encode(texts)).max() > 0.01
    merged.load_state_dict(merged_weights(adapted))
    np.testing.assert_allclose(merged.encode(texts), before, atol=1e-5)


def test_a_checkpoint_that_was_cut_off_is_passed_over(
    model: SentenceTransformer, dataset: RetrievalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = finetune_encoder(dataset, model, **QUICK)
    with monkeypatch.context() as patch:
        killed_after(patch, 8)
        with pytest.raises(KeyboardInterrupt):
            finetune_encoder(dataset, model, output_dir=tmp_path, **QUICK)
    (done,) = tmp_path.glob("checkpoint-*")
    cut = tmp_path / "checkpoint-999"
    cut.mkdir()
    (cut / WEIGHTS).write_bytes((done / WEIGHTS).read_bytes()[:100])
    assert same(state(whole), state(finetune_encoder(dataset, model, output_dir=tmp_path, resume=True, **QUICK)))


@pytest.fixture(scope="module")
def killed(
    model: SentenceTransformer, dataset: RetrievalDataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, SentenceTransformerEncoder]:
    """The folder of a run that was killed after its first checkpoint, and what it would have become."""
    folder = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch:
        killed_after(patch, 8)
        with pytest.raises(KeyboardInterrupt):
            finetune_encoder(dataset, model, output_dir=folder, **QUICK)
    return folder, finetune_encoder(dataset, model, **QUICK)


@pytest.mark.parametrize(
    ("name", "missing"),
    [(WEIGHTS, False), ("optimizer.pt", False), ("optimizer.pt", True), ("rng_state.pth", True)],
)
def test_a_checkpoint_that_was_altered_is_passed_over_with_a_word(
    name: str,
    missing: bool,
    model: SentenceTransformer,
    dataset: RetrievalDataset,
    killed: tuple[Path, SentenceTransformerEncoder],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder, whole = tmp_path / "run", killed[1]
    shutil.copytree(killed[0], folder)
    latest = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    data = bytearray((latest / name).read_bytes())
    data[len(data) // 2] ^= 1
    (latest / name).unlink()
    if not missing:
        (latest / name).write_bytes(data)
    resumed = finetune_encoder(dataset, model, output_dir=folder, resume=True, **QUICK)
    assert same(state(whole), state(resumed))
    assert f"{latest} is passed over" in caplog.text
    assert name in caplog.text


def test_a_record_in_which_a_pair_was_altered_is_refused(
    model: SentenceTransformer, dataset: RetrievalDataset, killed: tuple[Path, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(killed[0], folder)
    record = folder / "finetune.json"
    altered = bytearray(record.read_bytes())
    altered[altered.index(b'"document": "') + 14] ^= 1
    record.write_bytes(altered)
    with pytest.raises(CorruptArtifactError, match="no record of a run"):
        finetune_encoder(dataset, model, output_dir=folder, resume=True, **QUICK)


def test_a_finished_run_gives_its_result_again(
    model: SentenceTransformer, dataset: RetrievalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = finetune_encoder(dataset, model, output_dir=tmp_path, **QUICK)
    killed_after(monkeypatch, 0)
    again = finetune_encoder(dataset, model, output_dir=tmp_path, resume=True, **QUICK)
    assert again.fingerprint == encoder.fingerprint == SentenceTransformerEncoder(tmp_path / "model").fingerprint
    texts = list(dataset.corpus.values())
    assert np.array_equal(again.encode_documents(texts), encoder.encode_documents(texts))


@pytest.mark.parametrize("progress", [False, True])
def test_bars_go_to_standard_error_and_nothing_else_is_printed(
    progress: bool, model: SentenceTransformer, dataset: RetrievalDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune_encoder(dataset, model, **QUICK | {"epochs": 1, "progress": progress})
    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("it/s" in printed.err.split("Writing")[0]) == progress


def test_nothing_that_is_kept_needs_code_to_be_read(
    model: SentenceTransformer, dataset: RetrievalDataset, tmp_path: Path
) -> None:
    finetune_encoder(dataset, model, output_dir=tmp_path, **QUICK)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".pt", ".pth", ".txt"}
    for path in files:
        if path.suffix in {".pt", ".pth"}:
            with safe_globals():  # type: ignore[no-untyped-call]
                torch.load(path, weights_only=True)


def test_a_run_is_resumed_only_as_what_it_is(
    model: SentenceTransformer, dataset: RetrievalDataset, tmp_path: Path
) -> None:
    finetune_encoder(dataset, model, output_dir=tmp_path, **QUICK)
    with pytest.raises(InputError, match="holds a run already"):
        finetune_encoder(dataset, model, output_dir=tmp_path, **QUICK)
    with pytest.raises(MismatchError, match="another temperature and another seed"):
        finetune_encoder(dataset, model, output_dir=tmp_path, resume=True, seed=1, temperature=0.1, **QUICK)
    with pytest.raises(MismatchError, match="another dataset"):
        finetune_encoder(dataset.split((0.5, 0.5))[0], model, output_dir=tmp_path, resume=True, **QUICK)
    (weights,) = (tmp_path / "model").rglob("model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CorruptArtifactError, match="is not the one that this run made"):
        finetune_encoder(dataset, model, output_dir=tmp_path, resume=True, **QUICK)
    (tmp_path / "finetune.json").write_text("{")
    with pytest.raises(CorruptArtifactError, match="is no record of a run"):
        finetune_encoder(dataset, model, output_dir=tmp_path, resume=True, **QUICK)


def test_validation_picks_the_best_checkpoint_and_stops_early(
    model: SentenceTransformer, dataset: RetrievalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, validation = dataset.split((0.8, 0.2))
    scores = iter([0.3, 0.7, 0.6, 0.5, 0.9])
    kept = []

    def score(dataset: RetrievalDataset, encoder: SentenceTransformerEncoder, index: ExactIndex | None = None) -> float:
        kept.append(state(encoder))
        return next(scores)

    monkeypatch.setattr("nudge_integrations.finetune.run.validation_score", score)
    options = QUICK | {"epochs": 9, "patience": 2}
    encoder = finetune_encoder(train, model, validation=validation, output_dir=tmp_path, **options)
    assert len(kept) == 4  # before training, better, and twice in a row no better
    assert same(state(encoder), kept[1])
    assert json.loads((tmp_path / "finetune.json").read_text())["score"] == 0.7


def test_a_model_that_training_makes_worse_comes_back_as_it_was(
    model: SentenceTransformer,
    dataset: RetrievalDataset,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    train, validation = dataset.split((0.8, 0.2))
    scores = iter([0.5, 0.4, 0.5])
    monkeypatch.setattr("nudge_integrations.finetune.run.validation_score", lambda *_: next(scores))
    encoder = finetune_encoder(train, model, validation=validation, **QUICK)
    assert same(state(encoder), state(model))
    assert "was best before training" in caplog.text


def test_the_validation_score_is_evaluates(model: SentenceTransformer, dataset: RetrievalDataset) -> None:
    graded = {query: {**judged, "d0": 3, "d1": 0} for query, judged in dataset.qrels.items()}
    several = RetrievalDataset(dataset.corpus, dataset.queries, graded)
    encoder = SentenceTransformerEncoder(model)
    index = embedded(several, encoder)

    class Search:
        def search(self, texts: list[str], k: int) -> Any:
            return index.search(encoder.encode_queries(texts), k)

    expected = evaluate(Search(), several, ["ndcg@10"]).means["ndcg@10"]
    assert 0 < expected < 1
    assert validation_score(several, encoder) == pytest.approx(expected, abs=1e-12)
    assert validation_score(several, encoder, index) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("package", door.PACKAGES)
def test_a_missing_package_is_named_at_the_door(
    package: str, model: SentenceTransformer, dataset: RetrievalDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "find_spec", lambda name: None if name == package else find_spec(name))
    with pytest.raises(MissingExtraError, match=r"pip install 'nudge-integrations\[finetune\]'") as caught:
        finetune_encoder(dataset, model)
    assert caught.value.package == package


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "prompt"}, "strategy is 'prompt', expected one of 'full', 'lora', 'bias', 'freeze'"),
        ({"temperature": 0}, "temperature is 0, expected a positive number"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
        ({"epochs": 0}, "epochs is 0, expected a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"batch_size": 1}, "batch_size is 1, expected a whole number of at least 2"),
        ({"hard_negatives": -1}, "hard_negatives is -1"),
        ({"strategy": "freeze", "frozen_blocks": 2}, "this model has 2 blocks"),
    ],
)
def test_bad_options_are_named_before_anything_is_embedded(
    options: dict[str, Any],
    message: str,
    model: SentenceTransformer,
    dataset: RetrievalDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SentenceTransformerEncoder, "encode_documents", None)
    with pytest.raises(InputError, match=message):
        finetune_encoder(dataset, model, **options)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [("lora", "no transformer blocks"), ("freeze", "no transformer blocks"), ("bias", "no biases")],
)
def test_a_model_without_what_a_strategy_trains_is_refused(strategy: Strategy, message: str) -> None:
    plain: Any = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False))
    with pytest.raises(InputError, match=message):
        trained_names(plain, strategy)


def test_blocks_without_linear_layers_take_no_adapters() -> None:
    convolutional: Any = torch.nn.ModuleDict({"blocks": torch.nn.ModuleList([torch.nn.Conv1d(2, 2, 1)])})
    with pytest.raises(InputError, match="no linear layers for adapters"):
        trained_names(convolutional, "lora")


def test_bad_datasets_are_named(model: SentenceTransformer, dataset: RetrievalDataset) -> None:
    empty = RetrievalDataset(dataset.corpus, {}, {})
    with pytest.raises(DatasetError, match="no queries, so there is nothing to train on"):
        finetune_encoder(empty, model)
    with pytest.raises(DatasetError, match="validation set has no queries"):
        finetune_encoder(dataset, model, validation=empty)
    with pytest.raises(DatasetError, match="48 queries are training queries too"):
        finetune_encoder(dataset, model, validation=dataset)
    with pytest.raises(DatasetError, match="problems found"):
        finetune_encoder(RetrievalDataset(dataset.corpus, {"q": "?"}, {}), model)
