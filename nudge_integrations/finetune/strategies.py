"""Which parameters of an encoder a strategy trains, and how many those are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from torch import Tensor, nn

from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = [
    "LORA_RANK",
    "STRATEGIES",
    "ParameterCounts",
    "Strategy",
    "count_parameters",
    "make_trainable",
    "merged_weights",
    "trained_names",
]

Strategy = Literal["full", "lora", "bias", "freeze"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

LORA_RANK = 32

# What the head of a model is called that sees one vector of a text, where pooling by the mean leaves it unused.
_HEAD = "pooler"


@dataclass(frozen=True)
class ParameterCounts:
    """How large an encoder is, and how much of it each strategy trains; embeddings and the unused head left out.

    Attributes:
        total: N, the parameters that every token passes.
        trained: Strategy to N_train: those of them that it trains, or the adapters that it adds.

    Example:
        >>> ParameterCounts(total=10_000, trained={"full": 10_000, "lora": 400, "bias": 50, "freeze": 5_000}).total
        10000
    """

    total: int
    trained: Mapping[str, int]

    def __post_init__(self) -> None:
        missing = [strategy for strategy in STRATEGIES if strategy not in self.trained]
        if self.total < 1 or missing or min(self.trained.values()) < 0:
            raise InputError(
                f"parameter counts are total={self.total}, trained={dict(self.trained)}; expected a positive total and "
                f"a number for each of {', '.join(STRATEGIES)}"
            )


def count_parameters(
    model: SentenceTransformer, *, lora_rank: int = LORA_RANK, frozen_blocks: int | None = None
) -> ParameterCounts:
    """Count what each strategy would train; the model stays as it is.

    Args:
        model: A sentence-transformers model.
        lora_rank: See `finetune_encoder`.
        frozen_blocks: See `finetune_encoder`.

    Raises:
        InputError: If the model has no blocks, or not so many.
    """
    left_out = _embedding_names(model) | {name for name, _ in model.named_parameters() if _HEAD in name.split(".")}
    counted = {name: weight.numel() for name, weight in model.named_parameters() if name not in left_out}
    adapted = [layer for _, layer in _adapted_layers(model)]
    trained = {
        strategy: sum(counted.get(name, 0) for name in trained_names(model, strategy, frozen_blocks))
        for strategy in ("full", "bias", "freeze")
    }
    trained["lora"] = sum(lora_rank * (layer.in_features + layer.out_features) for layer in adapted)
    return ParameterCounts(
        total=sum(counted.values()), trained={strategy: trained[strategy] for strategy in STRATEGIES}
    )


def trained_names(model: SentenceTransformer, strategy: Strategy, frozen_blocks: int | None = None) -> set[str]:
    """Name the model's own parameters that a strategy trains; LoRA trains none of them.

    Raises:
        InputError: If the strategy is unknown, or the model has nothing that it could train.
    """
    names = [name for name, _ in model.named_parameters()]
    match strategy:
        case "full":
            return set(names)
        case "lora":
            _adapted_layers(model)  # raises where there is nothing to adapt
            return set()
        case "bias":
            biases = {name for name in names if name.endswith("bias")}
            if not biases:
                raise InputError("the model has no biases; use another strategy than 'bias'")
            return biases
        case "freeze":
            first = _first_trained_block(model, frozen_blocks)
            # Models hold their parameters in the order of the flow: whatever comes before that block is frozen.
            return set(names[next(i for i, name in enumerate(names) if name.startswith(f"{first}.")) :])
    raise InputError(f"strategy is {strategy!r}, expected one of {', '.join(map(repr, STRATEGIES))}")


def make_trainable(
    model: SentenceTransformer, strategy: Strategy, *, lora_rank: int, frozen_blocks: int | None
) -> None:
    """Let gradients change what the strategy trains and nothing else; LoRA's adapters are put into the model.

    Adapters begin as zero, with a scale of 1, so that the model gives the same vectors as before.

    Raises:
        InputError: As `trained_names`.
    """
    names = trained_names(model, strategy, frozen_blocks)
    targets = [name for name, _ in _adapted_layers(model)] if strategy == "lora" else []
    for name, weight in model.named_parameters():
        weight.requires_grad = name in names
    if targets:
        from peft import LoraConfig, inject_adapter_in_model

        inject_adapter_in_model(LoraConfig(r=lora_rank, lora_alpha=lora_rank, target_modules=targets), model)


def merged_weights(model: SentenceTransformer) -> dict[str, Tensor]:
    """Merge adapters into the weights, and return the model's state under the names from before they came in."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.merge()
    state = model.state_dict()
    return {name.replace(".base_layer.", "."): weight for name, weight in state.items() if ".lora_" not in name}


def _adapted_layers(model: SentenceTransformer) -> list[tuple[str, nn.Linear]]:
    """Find the linear layers inside the model's blocks: attention and feed-forward alike."""
    inside = f"{_blocks(model)[0]}."
    linear = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    found = [(name, module) for name, module in linear if name.startswith(inside)]
    if not found:
        raise InputError("the model's blocks have no linear layers for adapters; use another strategy than 'lora'")
    return found


def _first_trained_block(model: SentenceTransformer, frozen_blocks: int | None) -> str:
    name, blocks = _blocks(model)
    frozen = len(blocks) // 2 if frozen_blocks is None else frozen_blocks
    if not 0 < frozen < len(blocks):
        raise InputError(
            f"frozen_blocks is {frozen}; this model has {len(blocks)} blocks: freeze at least 1 and leave 1 to train"
        )
    return f"{name}.{frozen}"


def _blocks(model: SentenceTransformer) -> tuple[str, nn.ModuleList]:
    """Find the stack of transformer blocks: the list of modules that holds most parameters."""
    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise InputError("the model has no transformer blocks, which 'lora' and 'freeze' train; use strategy='full'")
    return max(lists, key=lambda named: _size(named[1]))


def _embedding_names(model: SentenceTransformer) -> set[str]:
    return {
        f"{name}.{inner}"
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding)
        for inner, _ in module.named_parameters(recurse=False)
    }


def _size(module: Any) -> int:
    return sum(weight.numel() for weight in module.parameters())
