"""Models that rank by inner product: served so before a fit, after one, and after one that gains nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from dot_encoder import IDS, TEXTS, DotEncoder, labels, ranking

from nudge_integrations.artifact import Nudge
from nudge_integrations.cli.measure import measure
from nudge_integrations.dataset import Splits
from nudge_integrations.errors import InputError, MismatchError
from nudge_integrations.index import with_extra_coordinate, with_zero_coordinate
from nudge_integrations.pipeline import fit
from nudge_integrations.pipeline.nudged_index import NudgedIndex
from nudge_integrations.solver import solve


def test_a_fit_that_gains_nothing_leaves_the_ranking_by_inner_product() -> None:
    encoder = DotEncoder()
    nudge = fit(labels(1), encoder)
    assert (nudge.status, nudge.similarity, len(nudge)) == ("no_gain", "dot", 0)
    np.testing.assert_array_equal(nudge.apply(IDS, encoder.documents), encoder.documents)
    index = NudgedIndex()
    index.insert(IDS, encoder.documents, TEXTS, [{}] * 60)
    before = [index.search(query, 10) for query in encoder.queries]
    index.apply(nudge)
    assert [index.search(query, 10) for query in encoder.queries] == before


@pytest.mark.parametrize("method", ["nudge-n", "nudge-m", "nudge-m+n", "contrastive", "auto"])
def test_a_nudge_is_worth_under_inner_product_what_its_fit_said(method: str, tmp_path: Path) -> None:
    encoder = DotEncoder()
    nudge = fit(labels(), encoder, method=method)
    assert nudge.similarity == "dot"
    assert nudge.status == "improved"
    lifted = with_extra_coordinate(encoder.documents)
    relevance = labels().relevance(document_ids=IDS)
    solution = solve(lifted, with_zero_coordinate(encoder.queries), relevance, method=method)
    served = nudge.apply(IDS, encoder.documents)
    expected = solution.apply(lifted)
    np.testing.assert_array_equal(
        ranking(served, encoder.queries)[:, :5], ranking(expected, with_zero_coordinate(encoder.queries))[:, :5]
    )
    # Documents that did not move are served as they are.
    rest = [row for row, name in enumerate(IDS) if name not in nudge]
    np.testing.assert_array_equal(served[rest], encoder.documents[rest])
    np.testing.assert_allclose(nudge.revert(IDS, served), encoder.documents, rtol=1e-6)
    assert nudge.max_norm >= np.linalg.norm(served, axis=1).max() * (1 - 1e-6)
    with pytest.raises(MismatchError, match="nudged already"):
        nudge.apply(IDS, served)
    nudge.save(tmp_path)
    loaded = Nudge.load(tmp_path)
    assert loaded.fingerprint == nudge.fingerprint
    np.testing.assert_array_equal(loaded.apply(IDS, encoder.documents), served)


@pytest.mark.parametrize(
    "asked",
    [
        {"method": "ridge"},
        {"method": "query-map"},
        {"shift": True, "method": "nudge-n"},
        {"signals": ("bm25",)},
        {"signals": ("bm25",), "method": "nudge-n"},
    ],
)
def test_what_cannot_be_fitted_by_inner_product_is_refused(asked: Any) -> None:
    with pytest.raises(InputError, match="ranked by inner product"):
        fit(labels(), DotEncoder(), **asked)


@pytest.mark.parametrize(("similarity", "expected"), [("dot", "dot"), ("cosine", "cosine"), (None, "cosine")])
def test_vectors_alone_are_ranked_as_was_asked_for(similarity: Literal["cosine", "dot"] | None, expected: str) -> None:
    made = DotEncoder()
    options: dict[str, Any] = {"document_vectors": made.documents, "query_vectors": made.queries}
    assert fit(labels(), "dot", method="nudge-n", similarity=similarity, **options).similarity == expected
    with pytest.raises(InputError, match="similarity must be"):
        fit(labels(), "dot", similarity="l2", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("queries", [1, 90])
def test_the_command_line_compares_rankings_by_inner_product(queries: int) -> None:
    encoder = DotEncoder()
    measured = measure(Splits(labels(queries), None, labels(), ""), encoder, "nudge-n")
    base = ranking(encoder.documents, encoder.queries)
    assert measured.comparison.before.rankings["q5"][:9] == tuple(IDS[row] for row in base[5][:9])
    means = measured.comparison.before.means, measured.comparison.after.means
    assert (means[0] == means[1]) == (measured.nudge.status == "no_gain") == (queries == 1)


@pytest.mark.parametrize("query", [np.ones((2, 12)), np.ones((1, 12)), [1.0], "text", None, [[1.0] * 12, [2.0] * 12]])
def test_a_query_that_is_not_one_vector_is_refused(query: Any) -> None:
    index = NudgedIndex()
    index.insert(IDS, DotEncoder().documents, TEXTS, [{}] * 60)
    with pytest.raises(InputError, match=r"query|queries"):
        index.search(query, 1)


def test_documents_of_one_length_are_fitted_as_under_cosine() -> None:
    made = DotEncoder()
    unit = made.documents / np.linalg.norm(made.documents, axis=1, keepdims=True)
    options: dict[str, Any] = {"document_vectors": unit, "query_vectors": made.queries, "method": "nudge-n"}
    one, other = (fit(labels(), "dot", similarity=similarity, **options) for similarity in ("dot", "cosine"))
    assert one.fingerprint == other.fingerprint
