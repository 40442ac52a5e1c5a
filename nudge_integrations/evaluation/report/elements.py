"""Trees of HTML and SVG elements -> text. The serialiser escapes every text and attribute, so nobody else has to.

>>> render(element("p", "1 < 2", class_="note", aria_hidden="true"))
'<p class="note" aria-hidden="true">1 &lt; 2</p>'
"""

from __future__ import annotations

import json
from typing import Any, cast
from xml.etree.ElementTree import Comment, Element, tostring  # builds and writes: nothing is parsed

__all__ = ["Element", "data_block", "element", "remark", "render"]


def element(tag: str, /, *children: Element | str | None, **attributes: object) -> Element:
    """Build an element.

    Args:
        tag: Its name.
        *children: Elements and texts in their order; None is left out.
        **attributes: ``class_`` is written ``class`` and ``stroke_width`` ``stroke-width``; None is left out.
    """
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    built = Element(tag, {name: _written(value) for name, value in names.items() if value is not None})
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            built.append(child)
            last = child
        elif child is not None and last is None:
            built.text = (built.text or "") + child
        elif child is not None and last is not None:
            last.tail = (last.tail or "") + child
    return built


def remark(text: str) -> Element:
    """Build a comment: for who reads the file, not for who reads the page."""
    built: Any = Comment(f" {text.replace('--', '-')} ")
    return cast("Element", built)


def render(root: Element) -> str:
    """Write an element as HTML; what UTF-8 cannot hold (half of a surrogate pair) becomes a question mark."""
    text = tostring(root, encoding="unicode", method="html")
    return text.encode("utf-8", "replace").decode("utf-8")


def data_block(data: Any, **attributes: object) -> Element:
    r"""Build a ``<script>`` that holds data, which no text in the data can close.

    >>> render(data_block(["</script>"], id="rows"))
    '<script type="application/json" id="rows">["\\u003c/script>"]</script>'
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A script's text is written as it is, and only `<` could end it; line separators end lines of older scripts.
    for sign in ("<", "\u2028", "\u2029"):
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return element("script", text, type="application/json", **attributes)


def _written(value: object) -> str:
    # A tenth of a pixel is finer than the eye, and keeps the page small.
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
