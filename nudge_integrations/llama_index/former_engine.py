"""Compatibility with code that was written for the framework's former finetune engines."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from nudge_integrations.errors import InputError

__all__ = ["chosen_method", "register"]


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


def register(engine: type[Any]) -> None:
    """Register a class with the framework's base class for engines, where that package can be imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package says on import that it is deprecated
            import_module("llama_index.finetuning.types").BaseEmbeddingFinetuneEngine.register(engine)
    except Exception:  # noqa: S110  its dependencies break in many ways, none of which concerns us
        pass
