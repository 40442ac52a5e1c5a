"""README.md's picture: nDCG@10 before, with the paper's own code and with the default, a line a collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WIDTH, _LEFT, _RIGHT, _TOP, _LINE = 760, 110, 64, 58, 38
_ROWS = (("none", "before"), ("nudge-ft N", "other"), ("auto", "after"))
_LOW, _HIGH = 20, 100
_STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328 } .tick { font-size: 12px; fill: #59636e }
.grid { stroke: #d1d9e0 } .way { stroke: #0969da; stroke-width: 3 } .before { fill: #8c959f }
.other { fill: none; stroke: #8c959f; stroke-width: 2 } .after { fill: #0969da } .value { font-weight: 600 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .tick { fill: #9198a1 } .grid { stroke: #3d444d }
.way { stroke: #4493f8 } .after { fill: #4493f8 } }
""".strip()


def gain_picture(measured: Mapping[str, Any]) -> str:
    """Draw the mean of every collection."""
    height = _TOP + _LINE * len(measured) + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="t d">',
        '<title id="t">nDCG@10 before and after, on nine collections</title>',
        f'<desc id="d">{_in_words(measured)}</desc>',
        f"<style>{_STYLE}</style>",
        *_legend(),
    ]
    for value in range(_LOW, _HIGH + 1, 20):
        x = _x(value)
        lines.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP - 14}" x2="{x:.1f}" y2="{height - 26}"/>')
        lines.append(f'<text class="tick" x="{x:.1f}" y="{height - 10}" text-anchor="middle">{value}</text>')
    for row, (name, one) in enumerate(measured.items()):
        lines += _line(name, one["methods"], _TOP + _LINE * row + 10)
    return "\n".join([*lines, "</svg>", ""])


def _x(value: float) -> float:
    return _LEFT + (value - _LOW) / (_HIGH - _LOW) * (_WIDTH - _LEFT - _RIGHT)


def _mean(methods: Mapping[str, Any], row: str) -> float:
    return float(methods[row]["ndcg@10"]["mean"])


def _line(name: str, methods: Mapping[str, Any], y: float) -> list[str]:
    drawn = [f'<text x="{_LEFT - 12}" y="{y + 5:.0f}" text-anchor="end">{name}</text>']
    start, end = _x(_mean(methods, "none")), _x(_mean(methods, "auto"))
    drawn.append(f'<line class="way" x1="{start:.1f}" y1="{y:.0f}" x2="{end:.1f}" y2="{y:.0f}"/>')
    for row, class_ in _ROWS:
        drawn.append(f'<circle class="{class_}" cx="{_x(_mean(methods, row)):.1f}" cy="{y:.0f}" r="6"/>')
    gain = _mean(methods, "auto") - _mean(methods, "none")
    drawn.append(f'<text class="value" x="{end + 11:.1f}" y="{y + 5:.0f}">{gain:+.1f}</text>')
    return drawn


def _legend() -> list[str]:
    names = {"before": "as it is", "other": "the paper's own code (nudge-ft N)", "after": "nudge, the default"}
    drawn = ['<text class="tick" x="12" y="24">nDCG@10 (%)</text>']
    for (class_, text), x in zip(names.items(), (_LEFT + 20, _LEFT + 120, _LEFT + 410), strict=True):
        drawn.append(f'<circle class="{class_}" cx="{x}" cy="19" r="6"/><text x="{x + 12}" y="24">{text}</text>')
    return drawn


def _in_words(measured: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name}: {_mean(one['methods'], 'none'):.1f} before, {_mean(one['methods'], 'auto'):.1f} after"
        for name, one in measured.items()
    )
