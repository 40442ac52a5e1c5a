"""The planner: its bill by hand and by torch's own counter, its ranks, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_encoder import tiny_model
from torch.utils.flop_counter import FlopCounterMode

from nudge_integrations.encoding import SentenceTransformerEncoder
from nudge_integrations.errors import InputError
from nudge_integrations.finetune import DEVICES, ParameterCounts, Plan, count_parameters, plan_finetuning
from nudge_integrations.finetune.strategies import STRATEGIES, Strategy, make_trainable

N = 1_000_000
COUNTS = ParameterCounts(N, {"full": N, "lora": 60_000, "bias": 5_000, "freeze": 400_000})
SIZE: dict[str, Any] = {"pairs": 2_000, "tokens_per_pair": 150, "documents": 5_000, "tokens_per_document": 120}


def plan(budget: float = 1e15, **options: Any) -> Plan:
    return plan_finetuning(budget, **{"model": COUNTS, **SIZE, **options})


def rows(made: Plan) -> dict[str, Any]:
    return {row.strategy: row for row in made.rows}


def test_the_bill_is_a_hand_count() -> None:
    row = rows(plan())
    assert row["full"].flops_per_pair == 6 * N * 150
    assert row["lora"].flops_per_pair == (4 * N + 2 * 60_000) * 150
    assert row["bias"].flops_per_pair == (4 * N + 2 * 5_000) * 150
    assert row["freeze"].flops_per_pair == (2 * N + 4 * 400_000) * 150
    for strategy in STRATEGIES:
        assert row[strategy].training_flops == row[strategy].flops_per_pair * 2_000
        assert row[strategy].embedding_flops == 2 * N * 120 * 5_000
        assert row[strategy].total_flops == row[strategy].training_flops + row[strategy].embedding_flops
    assert row["nudge only"].training_flops == 0
    assert row["nudge only"].total_flops == 2 * N * 32 * 2_000


def test_parameters_of_a_model_are_a_hand_count(tmp_path: Path) -> None:
    width, inner, rank = 32, 128, 4
    block = 4 * (width * width + width) + 2 * width * inner + inner + width + 2 * 2 * width
    counts = count_parameters(tiny_model(tmp_path), lora_rank=rank)
    assert counts.total == 2 * block + 2 * width  # and the norm after the embeddings
    assert counts.trained == {
        "full": counts.total,
        "lora": 2 * rank * (4 * 2 * width + 2 * (width + inner)),
        "bias": 2 * (4 * width + inner + width + 2 * width) + width,
        "freeze": block,
    }


def test_an_encoder_is_counted_like_its_model(tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    assert plan(model=SentenceTransformerEncoder(model)) == plan(model=model) == plan(model=count_parameters(model))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_torch_counts_the_same_within_a_tenth(strategy: Strategy, tmp_path: Path) -> None:
    # Wide, short texts: what the formulas leave out, attention's square and embeddings, is negligible here.
    texts, tokens, rank = 8, 16, 4
    model = tiny_model(tmp_path, hidden=256, blocks=4)
    counts = count_parameters(model, lora_rank=rank)
    make_trainable(model, strategy, lora_rank=rank, frozen_blocks=None)
    batch = {"input_ids": torch.full((texts, tokens), 5), "attention_mask": torch.ones(texts, tokens, dtype=torch.long)}
    with FlopCounterMode(display=False) as counter:
        model(batch)["sentence_embedding"].sum().backward()
    planned = rows(plan(model=counts, tokens_per_pair=tokens))[strategy].flops_per_pair
    assert counter.get_total_flops() / texts == pytest.approx(planned, rel=0.1)


def test_full_comes_first_at_low_budgets_and_lora_at_high_ones() -> None:
    assert [row.strategy for row in plan(1e15, crossover_flops=1e16).rows] == [
        *("full", "lora", "freeze", "bias", "nudge only")
    ]
    assert [row.strategy for row in plan(1e17, crossover_flops=1e16).rows] == [
        *("lora", "full", "freeze", "bias", "nudge only")
    ]


def test_nudging_alone_is_first_where_nothing_else_can_be_paid() -> None:
    made = plan(1e12, documents=10_000_000)
    assert made.best.strategy == "nudge only"
    assert [row.within_budget for row in made.rows] == [True, False, False, False, False]


def test_what_can_be_paid_comes_before_what_cannot() -> None:
    full = rows(plan())["full"].total_flops
    made = plan(full - 1)
    assert made.rows[-1].strategy == "full"
    assert not made.rows[-1].within_budget
    assert plan(full).best.strategy == "full"


def test_hours_are_the_bill_on_the_device() -> None:
    made = plan(device="a100-bf16", utilisation=0.5)
    assert made.best.hours == made.best.total_flops / (DEVICES["a100-bf16"] * 0.5) / 3600
    own = plan(device="my cluster", flops_per_second=1e15, utilisation=1.0)
    assert own.device == "my cluster"
    assert own.best.hours == own.best.total_flops / 1e15 / 3600


def test_it_reads_as_a_table_and_travels_as_json() -> None:
    made = plan()
    lines = str(made).splitlines()
    assert lines[0] == "Budget 1.00e+15 FLOPs; hours on cpu-core (1.00e+11 FLOP/s at 40%)"
    assert [line.split()[1] for line in lines[2:]] == ["full", "lora", "freeze", "bias", "nudge"]
    assert all(row.why in line for row, line in zip(made.rows, lines[2:], strict=True))
    assert json.loads(json.dumps(made.to_dict()))["rows"][0]["flops_per_pair"] == made.best.flops_per_pair
    assert repr(made) == "Plan(1.00e+15 FLOPs on cpu-core: full, lora, freeze, bias, nudge only)"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"budget": 0}, "budget_flops is 0"),
        ({"pairs": -1}, "pairs is -1"),
        ({"tokens_per_pair": float("nan")}, "tokens_per_pair is nan"),
        ({"utilisation": 1.5}, "expected a share of at most 1"),
        ({"device": "abacus"}, "device 'abacus' is not one of cpu-core"),
        ({"flops_per_second": -1.0}, "flops_per_second is -1.0"),
        ({"model": "all-MiniLM-L6-v2"}, "model is 'all-MiniLM-L6-v2', expected a SentenceTransformer"),
    ],
)
def test_bad_numbers_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(**wrong)


def test_counts_that_are_none_are_named() -> None:
    with pytest.raises(InputError, match="a number for each of full, lora, bias, freeze"):
        ParameterCounts(10, {"full": 10})
