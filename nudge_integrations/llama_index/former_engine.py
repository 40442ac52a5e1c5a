"""Compatibility with code that was written for the framework's former finetune engines."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

import torch

from nudge_integrations.errors import InputError

__all__ = ["check_device_and_seed", "chosen_method", "register"]


def chosen_method(method: str, use_nudge_n: bool | None) -> str:
    """Return the method for ``method`` and the former ``use_nudge_n``.

    Raises:
        InputError: If both are given.

    >>> chosen_method("auto", True), chosen_method("auto", False), chosen_method("contrastive", None)
    ('nudge-n', 'nudge-m', 'contrastive')
    """
    if use_nudge_n is None:
        return method
    if method != "auto":
        raise InputError(f"method={method!r} and use_nudge_n={use_nudge_n} were both given; leave use_nudge_n out")
    return "nudge-n" if use_nudge_n else "nudge-m"


def check_device_and_seed(device: Any, seed: Any) -> None:
    """Refuse a device that is not there, or an odd seed, now instead of after the corpus was embedded.

    Raises:
        InputError: If torch cannot put anything on the device, or the seed is no whole number of at least 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed is {seed!r}, expected a whole number of at least 0")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"device {device!r} cannot be used here ({error}); give another one, or None") from error


def register(engine: type[Any]) -> None:
    """Register a class with the framework's base class for engines, where that package can be imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package says on import that it is deprecated
            import_module("llama_index.finetuning.types").BaseEmbeddingFinetuneEngine.register(engine)
    except Exception:  # noqa: S110  its dependencies break in many ways, none of which concerns us
        pass
