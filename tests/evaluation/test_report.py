"""Every rendering of a report, read back by a parser of its own; the page in a browser has its own tests."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from dataclasses import FrozenInstanceError, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from reports import HOSTILE, made, made_report
from rich.console import Console
from scipy import sparse

from nudge_integrations.artifact import Nudge
from nudge_integrations.errors import InputError
from nudge_integrations.evaluation import Comparison
from nudge_integrations.evaluation.report import Report, StepCurve, report
from nudge_integrations.evaluation.report.elements import render
from nudge_integrations.evaluation.report.figures import angles_chart, changes_chart, curve_chart
from nudge_integrations.solver import solve

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """The contents of a page: tags with their attributes, texts, and scripts; refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open and self.open[-1] == "script" else self.texts).append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture(scope="module")
def made_up() -> Report:
    return made_report()


@pytest.fixture(scope="module")
def page(made_up: Report) -> Page:
    return Page(made_up.to_html())


@pytest.fixture(scope="module")
def parts() -> tuple[Comparison, Nudge]:
    comparison, nudge, _, _ = made()
    return comparison, nudge


def test_the_report_holds_the_comparison_s_figures(made_up: Report, parts: tuple[Comparison, Nudge]) -> None:
    comparison, nudge = parts
    assert made_up.differences == tuple(comparison.differences.values())
    assert len(made_up.queries) == comparison.queries
    for row in made_up.queries:
        assert row.before == tuple(
            comparison.before.per_query[metric][row.query_id] for metric in comparison.differences
        )
        assert row.after == tuple(comparison.after.per_query[metric][row.query_id] for metric in comparison.differences)
    changes = [row.change for row in made_up.queries]
    assert changes == sorted(changes, reverse=True)
    assert len(made_up.angles) == len(nudge)
    assert max(made_up.angles) <= 0.5 + 1e-5
    with pytest.raises(FrozenInstanceError):
        made_up.title = "another"  # type: ignore[misc]


def test_ranks_are_those_of_the_rankings(made_up: Report, parts: tuple[Comparison, Nudge]) -> None:
    comparison, _ = parts
    for row in made_up.queries:
        if row.document_id is None:
            continue
        for rank, side in ((row.old_rank, comparison.before), (row.new_rank, comparison.after)):
            found = side.rankings[row.query_id]
            assert (rank is None and row.document_id not in found) or found[rank - 1] == row.document_id  # type: ignore[operator]


def test_json_is_all_of_it_and_strict(made_up: Report) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    read = json.loads(made_up.to_json(), parse_constant=refuse)
    assert read == json.loads(json.dumps(made_up.to_dict()))
    assert len(read["queries"]) == 60
    assert read["metrics"]["ndcg@10"]["difference"] == made_up.differences[0].difference
    assert {row["text"] for row in read["queries"]} >= set(HOSTILE)
    assert read["drift"]["moved"] == len(read["angles"])


def test_what_was_not_measured_is_null(made_up: Report) -> None:
    first, *others = made_up.differences
    broken = replace(made_up, differences=(replace(first, p_value=float("nan")), *others))
    assert broken.to_dict()["metrics"]["ndcg@10"]["p_value"] is None


def test_csv_has_one_row_a_query(made_up: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(made_up.to_csv())))
    assert [row["query_id"] for row in rows] == [row.query_id for row in made_up.queries]
    assert {row["text"] for row in rows} >= set(HOSTILE)
    assert [float(row["mrr@10_after"]) for row in rows] == [row.after[2] for row in made_up.queries]


def hostile(made_up: Report, text: str) -> Report:
    return replace(made_up, queries=(replace(made_up.queries[0], text=text), *made_up.queries[1:]))


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_the_csv_is_a_formula(sign: str, made_up: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(hostile(made_up, f"{sign}1+1").to_csv(), newline="")))
    assert rows[0]["text"] == f"'{sign}1+1"
    assert all(float(row["new_rank"]) >= 1 for row in rows if row["new_rank"])


@pytest.mark.parametrize("suffix", [".md", ".csv", ".html", ".tex", ".json"])
def test_half_a_character_of_a_query_is_no_obstacle_to_writing(suffix: str, made_up: Report, tmp_path: Path) -> None:
    hostile(made_up, "half \ud800 here").save(tmp_path / f"report{suffix}")
    assert (tmp_path / f"report{suffix}").read_text(encoding="utf-8")


def test_markdown_tables_keep_their_columns_whatever_a_query_says(made_up: Report) -> None:
    worst = tuple(replace(row, text=text) for row, text in zip(made_up.queries, HOSTILE, strict=False))
    for block in replace(made_up, queries=worst).to_markdown().split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    text = replace(made_up, queries=worst).to_markdown()
    assert re.search(r"(?<!\\)<", text) is None
    assert "nDCG@10 rises from" in text
    assert "**Encoder**: toy encoder" in text


def test_latex_is_escaped_and_balanced(made_up: Report) -> None:
    text = replace(made_up, title=HOSTILE[2]).to_latex()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1 + len(made_up.breakdowns)
    bare = re.sub(r"\\[\\#$%&_{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert re.search(r"[#%~^]", bare.replace(r"$^\circ$", "")) is None
    columns = [len(re.findall(r"(?<!\\)&", line)) for line in text.splitlines() if line.endswith(r"\\")]
    assert set(columns) == {6, 7}


def test_the_terminal_shows_figures_and_takes_no_text_for_markup(made_up: Report) -> None:
    worst = tuple(replace(row, text=HOSTILE[4]) for row in made_up.queries)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(replace(made_up, queries=worst))
    text = console.export_text()
    assert "[bold red]not markup[/]" in text
    assert "nDCG@10 rises from" in text
    assert "toy encoder" in text


def test_the_page_is_whole_and_loads_nothing(page: Page, made_up: Report) -> None:
    counts = Counter(tag for tag, _ in page.tags)
    assert counts["h1"] == counts["main"] == counts["header"] == counts["nav"] == 1
    assert counts["figure"] == counts["figcaption"] == 3
    for tag, attributes in page.tags:
        assert tag not in {"iframe", "object", "embed", "base"}
        for name, value in attributes.items():
            assert not name.startswith("on"), f"<{tag} {name}>"
            assert name != "style"
            if name in {"src", "href"}:
                assert value is not None
                assert value.startswith(("#", "data:,"))
    assert re.search(r"url\(|@import|https?://|fetch\(|XMLHttpRequest", made_up.to_html()) is None


def test_ids_are_there_once_and_references_resolve(page: Page) -> None:
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert set(ids.values()) == {1}
    for _, attributes in page.tags:
        named = [*(attributes.get("aria-labelledby") or "").split()]
        if (attributes.get("href") or "").startswith("#"):
            named.append(str(attributes["href"])[1:])
        assert set(named) <= ids.keys()


def test_texts_are_inert_on_the_page(page: Page, made_up: Report) -> None:
    assert "taken" not in "".join(str(value) for _, attributes in page.tags for value in attributes.values())
    assert page.count("script") == 2
    assert page.count("img") == 0
    assert page.count("b") == 0
    assert made_up.title in page.texts
    rows = json.loads(page.scripts[1])["rows"]
    shown = {" ".join(text.split()).replace("\ud800", "?") for text in HOSTILE}
    assert {row[0] for row in rows} >= shown
    assert "\u2028" not in page.scripts[1]
    made_up.to_html().encode("utf-8")


def test_tables_say_what_their_heads_are(page: Page) -> None:
    heads = [attributes for tag, attributes in page.tags if tag == "th"]
    assert {attributes.get("scope") for attributes in heads} == {"col", "row"}
    assert page.count("caption") == page.count("table") == 2 + 3
    sortable = [attributes for attributes in heads if "aria-sort" in attributes]
    assert [attributes["aria-sort"] for attributes in sortable] == ["none"] * 5 + ["descending"]


def test_pictures_have_words(page: Page) -> None:
    for tag, attributes in page.tags:
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes.get("role") == "img"
    assert page.count("desc") == 3


def test_a_page_of_many_queries_stays_small(made_up: Report) -> None:
    many = replace(made_up, queries=tuple(replace(made_up.queries[i % 60], query_id=f"q{i}") for i in range(10_000)))
    text = many.to_html()
    assert len(json.loads(Page(text).scripts[1])["rows"]) == 10_000
    assert len(text) < 2_000_000
    assert Page(text).count("tr") < 60


def test_a_notebook_shows_figures_and_runs_nothing(made_up: Report) -> None:
    shown = Page(made_up._repr_html_())
    assert shown.count("script") == 0
    assert shown.count("svg") > 2
    assert "nDCG@10" in "".join(shown.texts)
    assert all(rule.startswith(".nudge-report") for rule in re.findall(r"^\S.*(?={)", shown.texts[0], re.M))


def test_the_file_is_replaced_whole(made_up: Report, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("an older one", encoding="utf-8")
    made_up.save(path)
    assert path.read_text(encoding="utf-8") == made_up.to_html()
    assert list(tmp_path.iterdir()) == [path]
    folder = tmp_path / "folder.html"
    folder.mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        made_up.save(folder)
    with pytest.raises(InputError, match=r"ends in \.html, \.md"):
        made_up.save(tmp_path / "report.docx")
    assert sorted(tmp_path.iterdir()) == [folder, path]


def test_the_same_input_gives_the_same_page(parts: tuple[Comparison, Nudge]) -> None:
    _, _, documents, judged = made()
    first, again = (report(*parts, documents=documents, queries=judged, sample=10) for _ in range(2))
    assert first == again
    assert first.to_html() == again.to_html()


def test_a_solution_will_do(parts: tuple[Comparison, Nudge]) -> None:
    comparison, _ = parts
    _, _, documents, judged = made()
    solution = solve(documents, judged, comparison.before.dataset.relevance(), method="nudge-m")  # type: ignore[union-attr]
    bare = report(comparison, solution)
    assert (bare.projection, bare.angles) == (None, ())
    full = report(comparison, solution, documents=documents)
    assert len(full.angles) == len(solution.rows)
    assert full.curve is not None
    assert full.curve.unit == "length"
    assert Page(bare.to_html()).count("figure") == 2


def test_nothing_moved_is_a_report_too(parts: tuple[Comparison, Nudge]) -> None:
    comparison, _ = parts
    _, _, documents, judged = made()
    still = solve(documents, documents[:1], sparse.csr_array(np.eye(1, len(documents))), method="auto")
    assert still.status == "no_gain"
    made_up = report(comparison, still, documents=documents, queries=judged)
    assert made_up.angles == ()
    assert Page(made_up.to_html()).count("figure") == 3
    assert any("no document moved" in sentence for sentence in made_up.limits)


def test_bad_input_is_one_clear_error(parts: tuple[Comparison, Nudge]) -> None:
    comparison, nudge = parts
    _, _, documents, judged = made()
    with pytest.raises(InputError, match="needs a Comparison"):
        report("better", nudge)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Solution or Nudge"):
        report(comparison, {"step": 1})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="sample"):
        report(comparison, nudge, documents=documents, sample=1)
    with pytest.raises(InputError, match="dimensions"):
        report(comparison, nudge, documents=documents[:, :8])
    with pytest.raises(InputError, match="dimensions"):
        report(comparison, nudge, documents=documents, queries=judged[:, :8])
    with pytest.raises(InputError, match="not finite"):
        report(comparison, nudge, documents=np.full_like(documents, np.nan))


def test_the_sample_is_seeded_and_bounded(parts: tuple[Comparison, Nudge]) -> None:
    comparison, nudge = parts
    _, _, documents, _ = made()
    first, again, other = (report(comparison, nudge, documents=documents, sample=10, seed=seed) for seed in (1, 1, 2))
    assert first.projection is not None
    assert len(first.projection.corpus) == 10
    assert first.projection == again.projection != other.projection
    assert first.projection.totals == (40, len(nudge), 0)


def test_the_projection_is_the_principal_one() -> None:
    comparison, nudge, documents, _ = made()
    seen = report(comparison, nudge, documents=documents).projection
    assert seen is not None
    units = documents / np.linalg.norm(documents, axis=1, keepdims=True)
    variances = np.linalg.eigvalsh(np.cov(units.T))[::-1]
    assert seen.explained == pytest.approx(tuple(variances[:2] / variances.sum()), rel=1e-4)
    assert np.var(np.array(seen.corpus), axis=0, ddof=1) == pytest.approx(variances[:2], rel=1e-4)


def points_of(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]


def test_the_curve_is_drawn_where_its_values_are() -> None:
    curve = StepCurve("ndcg@10", "leave-one-out", 9, (0.0, 0.2, 0.6), (0.5, 0.7, 0.6), "rad", 0.3, 0.5, 0.7)
    drawn = next(part for part in curve_chart(curve).iter("path") if part.get("class") == "curve")
    heights = [y for _, y in points_of(drawn.get("d", ""))]
    low, high, last = heights[0], min(heights), heights[-1]
    assert last == pytest.approx(low + (high - low) / 2, abs=0.2)
    assert len(set(heights)) == 3


def test_a_curve_of_many_pieces_is_drawn_with_few_points_and_keeps_its_peaks() -> None:
    steps = np.linspace(0, 1, 50_000)
    values = np.zeros(50_000)
    values[31_234] = 1.0
    curve = StepCurve("hit@1", "validation", 9, tuple(steps), tuple(values), "rad", float(steps[31_234]), 0.0, 1.0)
    text = render(curve_chart(curve))
    drawn = re.search(r'd="([^"]+)" class="curve"', text)
    assert drawn is not None
    heights = [y for _, y in points_of(drawn[1])]
    assert len(text) < 100_000
    assert min(heights) < max(heights) - 100


@pytest.mark.parametrize("changes", [[0.0], [0.0] * 5, [1.0], [-1.0, -1.0], list(np.linspace(1, -1, 9_999))])
def test_any_changes_can_be_drawn(changes: list[float]) -> None:
    text = render(changes_chart(changes, "ndcg@10"))
    assert "nan" not in text
    assert len(text) < 60_000


@pytest.mark.parametrize("angles", [[0.0], [0.3] * 4, [0.0, 3.14159]])
def test_any_angles_can_be_drawn(angles: list[float]) -> None:
    text = render(angles_chart(angles))
    assert "nan" not in text
    assert text.count("<rect") == 24


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_colour_of_text_has_enough_contrast_in_both_themes(made_up: Report) -> None:
    pairs = dict(re.findall(r"--(\w+): light-dark\((#\w{6}, #\w{6})\)", made_up.to_html()))
    assert len(pairs) >= 9
    for theme in (0, 1):
        colour = {name: luminance(both.split(", ")[theme]) for name, both in pairs.items()}
        for name, least in {
            "ink": 7,
            "quiet": 4.5,
            "accent": 4.5,
            "gain": 4.5,
            "loss": 4.5,
            "query": 4.5,
            "control": 3,
        }.items():
            for ground in ("paper", "panel"):
                light, dark = sorted((colour[name], colour[ground]), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= least, f"{name} on {ground}, theme {theme}"
