"""Texts as models and files take them."""

from __future__ import annotations

import re

from nudge_integrations.errors import InputError

__all__ = ["whole"]

_HALF = re.compile("[\ud800-\udfff]")


def whole(text: str) -> str:
    r"""Join the halves of characters that stand together, and put U+FFFD for those that stand alone.

    No tokenizer takes such a half (a lone surrogate), and no file in UTF-8.

    Raises:
        InputError: If it is no text.

    Example:
        >>> whole("cut \ud83d") == "cut \ufffd"
        True
    """
    if not isinstance(text, str):
        raise InputError(f"expected a text; got {text!r:.80} ({type(text).__name__})")
    if not _HALF.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
