"""A fingerprint that tells sentence-transformers models apart, on any machine and with any version of the libraries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Mixed case, accents, other scripts and punctuation: what tokenizers treat differently.
PROBES = ("The Quick brown fox, 42!", "Ça où naïve ÉTÉ", "日本語 текст", "unbelievableness http://x.y/z_1")


def model_fingerprint(model: SentenceTransformer, prompts: Mapping[str, str | None]) -> str:
    """Hash what decides a model's vectors: weights, tokens, modules, lengths and prompts.

    Embeddings of probe texts would differ in their last digits from machine to machine, and rounding only makes that
    rare; weights and token ids are the same bit for bit.

    Args:
        model: The model; its weights are read once.
        prompts: Role to the prompt that replaces the model's own, or None.

    Returns:
        A sha256 as 64 hex digits.

    Raises:
        InputError: The weights are outside PyTorch, so that two models could not be told apart.
    """
    # Parameters are named and ordered differently from version to version; their contents are not.
    weights = sorted(map(_content, model.parameters()))
    if not weights:
        raise InputError(
            "the model keeps its weights outside PyTorch (ONNX, OpenVINO?); load it with the torch backend"
        )
    settings = {
        "modules": [_described(module) for module in model],
        "weights": weights,
        "tokens": _tokens(model),
        "max_seq_length": model.max_seq_length,
        "truncate_dim": model.truncate_dim,
        "model_prompts": {name: prompt for name, prompt in model.prompts.items() if prompt},
        "default_prompt": model.default_prompt_name,
        "prompts": dict(prompts),
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _content(weight: Any) -> str:
    import torch

    array = weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    return f"{weight.dtype}{list(weight.shape)}{hashlib.sha256(memoryview(array)).hexdigest()}"


def _described(module: Any) -> list[str]:
    """Name a module, and for pooling also the way it pools, which no weight shows."""
    mode = getattr(module, "pooling_mode", None) or getattr(module, "get_pooling_mode_str", partial(str, ""))()
    return [type(module).__name__, str(mode)]


def _tokens(model: SentenceTransformer) -> list[Any]:
    if hasattr(model, "preprocess"):
        features = model.preprocess(list(PROBES), task="document")
    else:  # the name in earlier versions
        features = model.tokenize(list(PROBES))
    return [features[name].tolist() for name in ("input_ids",) if name in features]
