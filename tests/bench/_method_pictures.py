"""The pictures of docs/how-it-works.md, drawn from what the solver really answers for a small problem."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nudge_integrations.solver import solve

_STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328 } .small { font-size: 12px; fill: #59636e }
.frame { fill: none; stroke: #d1d9e0 } .document { fill: #0969da } .query { fill: #bc4c00 } .new { fill: #1a7f37 }
.line { fill: none; stroke: #0969da; stroke-width: 2.5 } .other { fill: none; stroke: #8c959f; stroke-width: 2.5 }
.way { stroke: #1a7f37; stroke-width: 2.5; fill: none } .thin { stroke: #8c959f; stroke-dasharray: 4 4 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9198a1 } .frame { stroke: #3d444d }
.document { fill: #4493f8 } .query { fill: #db6d28 } .new { fill: #3fb950 } .line { stroke: #4493f8 }
.way { stroke: #3fb950 } }
""".strip()
_WIDTH, _HEIGHT = 560, 300
_CENTRE, _RADIUS = (150.0, 270.0), 230.0


def method_pictures() -> dict[str, str]:
    """Return file name -> SVG."""
    return {
        "direction.svg": _direction(),
        "path.svg": _path(),
        "step.svg": _step(),
        "leave-one-out.svg": _leave_one_out(),
        "guard.svg": _guard(),
    }


def _svg(title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">'
    return "\n".join([head, f"<title>{title}</title>", f"<style>{_STYLE}</style>", *parts, "</svg>", ""])


def _on_circle(degrees: float, radius: float = _RADIUS) -> tuple[float, float]:
    angle = math.radians(degrees)
    return _CENTRE[0] + radius * math.cos(angle), _CENTRE[1] - radius * math.sin(angle)


def _text(x: float, y: float, text: str, class_: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}"{f" class={chr(34)}{class_}{chr(34)}" if class_ else ""}>{text}</text>'


def _dot(degrees: float, class_: str, text: str) -> str:
    x, y = _on_circle(degrees)
    return f'<circle class="{class_}" cx="{x:.1f}" cy="{y:.1f}" r="7"/>{_text(x + 13, y + 5, text)}'


def _arc(start: float, end: float, class_: str) -> str:
    (x1, y1), (x2, y2) = _on_circle(start), _on_circle(end)
    radius = f"{_RADIUS:.0f} {_RADIUS:.0f} 0 0 {int(end < start)}"
    return f'<path class="{class_}" d="M{x1:.1f} {y1:.1f}A{radius} {x2:.1f} {y2:.1f}"/>'


def _spoke(degrees: float, class_: str) -> str:
    x, y = _on_circle(degrees)
    return f'<line class="{class_}" x1="{_CENTRE[0]:.0f}" y1="{_CENTRE[1]:.0f}" x2="{x:.1f}" y2="{y:.1f}"/>'


_DOCUMENT, _QUERIES, _OTHER = 66.0, (22.0, 34.0, 40.0), 48.0


def _scene() -> list[str]:
    queries = [_dot(angle, "query", f"query {number}") for number, angle in enumerate(_QUERIES, start=1)]
    return [_arc(95, 0, "frame"), *queries, _dot(_DOCUMENT, "document", "document"), _dot(_OTHER, "other", "another")]


def _mean_angle() -> float:
    radians = np.radians(_QUERIES)
    return math.degrees(math.atan2(np.sin(radians).sum(), np.cos(radians).sum()))


def _direction() -> str:
    parts = [*_scene(), *(_spoke(angle, "thin") for angle in _QUERIES), _spoke(_mean_angle(), "way")]
    return _svg("The direction of a document is the sum of the queries that it answers", parts)


def _path() -> str:
    turned = math.degrees(0.42)
    parts = [*_scene(), _spoke(_mean_angle(), "thin"), _arc(_DOCUMENT, _DOCUMENT - turned, "way")]
    parts.append(_dot(_DOCUMENT - turned, "new", ""))
    parts.append(_text(12, 292, "turned by t towards its direction: now it is nearer to query 3 than another", "small"))
    return _svg("A document turns towards its direction, by the same angle as all", parts)


def _problem() -> tuple[NDArray[np.float64], NDArray[np.float64], sparse.csr_array]:
    """Sixty documents, four queries each, to one side of them."""
    random = np.random.default_rng(4)
    documents = random.standard_normal((60, 12))
    relevant = np.repeat(np.arange(60), 4)
    side = random.standard_normal((60, 12))
    queries = documents[relevant] + 1.2 * side[relevant] + 1.3 * random.standard_normal((240, 12))
    return documents, queries, sparse.csr_array((np.ones(240), (np.arange(240), relevant)), shape=(240, 60))


def _stairs(steps: NDArray[np.float64], values: NDArray[np.float64], class_: str, low: float, high: float) -> str:
    x = 60 + steps / steps.max() * (_WIDTH - 100)
    y = 250 - (values - low) / (high - low) * 200
    points = [f"{x[0]:.1f} {y[0]:.1f}"]
    for here, before, after in zip(x[1:], y[:-1], y[1:], strict=True):
        points += [f"{here:.1f} {before:.1f}", f"{here:.1f} {after:.1f}"]
    return f'<path class="{class_}" d="M{"L".join(points)}"/>'


def _axes(low: float, high: float) -> list[str]:
    return [
        f'<line class="frame" x1="60" y1="250" x2="{_WIDTH - 40}" y2="250"/>',
        _text(_WIDTH - 150, 285, "step, in radians", "small"),
        _text(8, 28, "nDCG@10", "small"),
        _text(8, 254, f"{low:.2f}", "small"),
        _text(8, 54, f"{high:.2f}", "small"),
    ]


def _curve(own_labels: bool) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    documents, queries, relevance = _problem()
    # As its own validation set a query is evaluated on documents that its own label moved.
    held_out = (queries, relevance) if own_labels else None
    solution = solve(documents, queries, relevance, method="nudge-n", validation=held_out, refit=False)
    return np.asarray(solution.curve.steps), np.asarray(solution.curve.values), solution.step


def _step() -> str:
    steps, values, chosen = _curve(own_labels=False)
    low, high = float(values.min()) - 0.02, float(values.max()) + 0.02
    x = 60 + chosen / steps.max() * (_WIDTH - 100)
    y = 250 - (values[np.searchsorted(steps, chosen, side="right") - 1] - low) / (high - low) * 200
    parts = [*_axes(low, high), _stairs(steps, values, "line", low, high)]
    parts.append(f'<line class="thin" x1="{x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="250"/>')
    parts.append(
        f'<circle class="new" cx="{x:.1f}" cy="{y:.1f}" r="7"/>{_text(x + 10, y - 12, f"chosen: {chosen:.2f}")}'
    )
    return _svg("The metric along the step is a staircase; its highest stair is chosen", parts)


def _leave_one_out() -> str:
    (steps, values, _), (own_steps, own_values, _) = _curve(own_labels=False), _curve(own_labels=True)
    last = min(steps.max(), own_steps.max())
    low, high = float(min(values.min(), own_values.min())) - 0.02, float(own_values.max()) + 0.02
    drawn = []
    for at, value, class_ in ((steps, values, "line"), (own_steps, own_values, "other")):
        kept = at <= last
        drawn.append(_stairs(np.append(at[kept], last), np.append(value[kept], value[kept][-1]), class_, low, high))
    words = [_text(250, 40, "with its own label: praises every step", "small")]
    words.append(_text(250, 235, "without it (blue): what a new query would see", "small"))
    return _svg("A query evaluated with its own label, and without it", [*_axes(low, high), *drawn, *words])


def _guard() -> str:
    rows = (
        ("more than noise: taken", 3.1, 1.0, "line"),
        ("not to be told from noise: nothing moves", 0.6, 1.1, "other"),
    )
    zero, scale = 200.0, 60.0
    parts = [
        f'<line class="thin" x1="{zero:.0f}" y1="30" x2="{zero:.0f}" y2="230"/>',
        _text(zero - 30, 255, "no gain", "small"),
    ]
    for number, (text, gain, error, class_) in enumerate(rows):
        y = 80 + 90 * number
        x1, x2 = zero + scale * (gain - 2 * error), zero + scale * (gain + 2 * error)
        parts.append(f'<line class="{class_}" x1="{x1:.0f}" y1="{y}" x2="{x2:.0f}" y2="{y}"/>')
        parts.append(f'<circle class="document" cx="{zero + scale * gain:.0f}" cy="{y}" r="7"/>')
        parts.append(_text(zero - 120, y - 22, text))
    return _svg("A gain more than two standard errors above zero is taken, another is not", parts)
