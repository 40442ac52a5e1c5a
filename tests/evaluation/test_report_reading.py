"""Readers of a report: groups that lose are named, noise has no colour, rows open, nothing local shows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from reports import made, made_report

from nudge_integrations.errors import InputError
from nudge_integrations.evaluation.breakdown import Breakdown, Group
from nudge_integrations.evaluation.report import CandidateRow, Projection, Report, report
from nudge_integrations.evaluation.report.card import title_of
from nudge_integrations.evaluation.report.figures import candidates_chart, says_nothing
from nudge_integrations.evaluation.report.sheets import losers_without_labels
from nudge_integrations.evaluation.report.tables import shared_span


@pytest.fixture(scope="module")
def made_up() -> Report:
    return made_report()


def with_group(made_up: Report, name: str, label: str, change: float) -> Report:
    first = replace(made_up.differences[0], before=0.62, after=0.62 + change, difference=change, p_adjusted=0.5)
    group = Group(label, ("q1", "q2"), {"ndcg@10": first})
    return replace(made_up, breakdowns=(Breakdown(name, (group,)),))


@pytest.mark.parametrize(("name", "label"), [("documents", "unseen"), ("labels", "1 label")])
def test_unseen_and_rare_documents_have_a_line_where_they_lose(made_up: Report, name: str, label: str) -> None:
    losing, gaining = (with_group(made_up, name, label, change) for change in (-0.02, 0.02))
    [line] = losers_without_labels(losing)
    assert line.startswith("2 queries whose documents")
    assert "62.0 to 60.0" in line
    assert "not to be told from noise" in line
    assert losers_without_labels(gaining) == []
    for text in (losing.to_html(), losing.to_markdown(), losing._repr_html_()):
        assert line in text.replace("\\", "")
    assert line not in gaining.to_html()


def test_noise_has_no_colour(made_up: Report) -> None:
    def coloured(p: float) -> int:
        differences = tuple(replace(one, difference=-0.01, p_adjusted=p) for one in made_up.differences)
        page = replace(made_up, differences=differences, breakdowns=(), queries=made_up.queries[:1]).to_html()
        return len(re.findall(r'class="(?:loss-text|dot loss)"', page.split('id="movers"')[0]))

    assert coloured(0.5) == 0
    assert coloured(0.001) > 4


def test_all_tables_share_one_axis(made_up: Report) -> None:
    page = made_up.to_html()
    zeros = re.findall(r'<line x1="([\d.]+)" y1="0" x2="[\d.]+" y2="18" class="zero"', page)
    assert len(zeros) >= 8
    assert len(set(zeros)) == 1


def test_an_interval_of_a_handful_of_queries_does_not_squeeze_the_others(made_up: Report) -> None:
    from nudge_integrations.evaluation.report.sheets import Sheet

    first = made_up.differences[0]
    few = replace(first, low=-0.9, high=0.9, wins=1, losses=1, ties=0)
    sheets = [Sheet("", (), (), (first,)), Sheet("", (), (), (few,))]
    assert shared_span(sheets) == (min(0.0, first.low), first.high)


def test_pictures_that_say_nothing_are_left_out_with_the_reason_in_the_file(made_up: Report) -> None:
    flat = Projection(((0.0, 0.0), (1.0, 1.0)), (), (), (0.05, 0.04), (2, 0, 0))
    steep = replace(flat, explained=(0.4, 0.3))
    page = replace(made_up, projection=flat).to_html()
    assert "<!-- left out, projection: the two main axes hold 9% of the variance" in page
    assert "projection-title" not in page
    assert "projection-title" in replace(made_up, projection=steep).to_html()
    assert "angles" in says_nothing(made_up)
    assert "angles" not in says_nothing(replace(made_up, angles=(0.1, 0.4, 0.5)))


def test_rows_open_to_the_best_documents_before_and_after(made_up: Report) -> None:
    comparison, *_ = made()
    for row in made_up.queries:
        assert row.old_top == tuple(comparison.before.rankings[row.query_id][:5])
        assert row.new_top == tuple(comparison.after.rankings[row.query_id][:5])
    data = json.loads(re.findall(r'id="query-data">(.*?)</script>', made_up.to_html(), re.DOTALL)[0])
    ids = [document for document, _ in data["documents"]]
    opened = data["rows"][0][-1]
    assert [ids[number] for number in opened[1]] == list(made_up.queries[0].new_top)
    assert dict(data["documents"])["d1"] == "text 1"
    assert made_up.to_html().count("<details") >= 30


def test_ten_thousand_queries_that_open_stay_below_three_megabytes(made_up: Report) -> None:
    texts = {f"d{number}": "word " * 30 for number in range(6000)}
    tops = [tuple(f"d{(5 * row + at) % 6000}" for at in range(5)) for row in range(2000)]
    rows = [replace(made_up.queries[i % 60], query_id=f"q{i}", text=f"question number {i} " * 3) for i in range(10_000)]
    rows[:2000] = [replace(row, old_top=top, new_top=top) for row, top in zip(rows[:2000], tops, strict=True)]
    assert len(replace(made_up, queries=tuple(rows), texts=texts).to_html()) < 3_000_000


def test_the_title_names_data_and_date_and_no_folder() -> None:
    comparison, nudge, *_ = made()
    day = nudge.created[:10]
    assert title_of(nudge, {"Data": "/home/me/data/scifact"}) == f"What the nudge changed: scifact ({day})"
    details = {"Data": "/home/me/data/scifact", "Model": "./models/mine", "Key": "0123456789abcdef" * 4}
    page = report(comparison, nudge, details=details).to_html()
    assert f"<title>What the nudge changed: scifact ({day})</title>" in page
    assert "/home" not in page
    assert "./models" not in page
    assert re.search(r"\b[0-9a-f]{20,}\b", page) is None


def test_candidates_are_drawn_best_first_with_the_fit_filled() -> None:
    rows = (CandidateRow("nudge-n", 0.1, 0.01, False), CandidateRow("ridge", 0.2, float("nan"), False))
    chart = candidates_chart((*rows, CandidateRow("contrastive, tau 0.1", 0.15, 0.01, True)))
    names = [text.text for text in chart.iter("text") if text.get("text-anchor") == "end"]
    assert names[:2] == ["contrastive, tau 0.1", "nudge-n"]
    dots = [circle.get("class") for circle in chart.iter("circle")]
    assert dots == ["dot gain", "dot"]


def test_the_gain_of_words_is_said_to_be_on_top() -> None:
    comparison, nudge, *_ = made()
    one = nudge.candidates[0]
    words = {**one, "method": f"{one['method']}+bm25", "gain": 0.01}
    names = [row.name for row in report(comparison, replace(nudge, candidates=(one, words))).candidates]
    assert names == ["nudge-n", "bm25, on top of the best"]


def test_junit_has_a_test_for_each_metric_and_group() -> None:
    comparison, *_ = made()
    suite = ElementTree.fromstring(comparison.to_junit("ndcg@10"))  # noqa: S314  # written by us
    cases = suite.findall("testcase")
    assert int(suite.get("tests", "0")) == len(cases) == 4 * (1 + sum(len(one.groups) for one in comparison.breakdowns))
    assert suite.get("failures") == "0"
    still: Any = {name: replace(one, difference=0.0, p_adjusted=1.0) for name, one in comparison.differences.items()}
    failed = ElementTree.fromstring(replace(comparison, differences=still).to_junit("ndcg@10"))  # noqa: S314
    assert failed.get("failures") == "1"
    assert failed.findall(".//failure")[0].get("message") == "ndcg@10 does not gain more than noise"
    with pytest.raises(InputError, match="not compared"):
        comparison.to_junit("map@5")


def test_a_loss_beyond_noise_fails_in_junit() -> None:
    comparison, *_ = made()
    lost: Any = {name: replace(one, difference=-0.1, p_adjusted=0.001) for name, one in comparison.differences.items()}
    suite = ElementTree.fromstring(replace(comparison, differences=lost, breakdowns=()).to_junit())  # noqa: S314
    assert suite.get("failures") == "4"


def test_classes_show_themselves_in_a_notebook() -> None:
    comparison, nudge, *_ = made()
    for shown in (comparison, comparison.after, nudge, made_report()):
        text = shown._repr_html_()
        assert "<script" not in text
        assert "<table" in text
    assert np.isfinite(comparison.differences["ndcg@10"].difference)
