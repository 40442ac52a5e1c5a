"""A small comparison and fit, with queries that try to break out of every rendering, for the tests of the report."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.artifact import Nudge
from nudge_integrations.dataset import RetrievalDataset
from nudge_integrations.evaluation import Comparison, compare, drift
from nudge_integrations.evaluation.report import Report, report
from nudge_integrations.index import ExactIndex
from nudge_integrations.pipeline import fit

HOSTILE = (
    "</script><script>document.title='taken'</script>",
    "<img src=x onerror=\"document.title='taken'\">",
    "a | b ` c & d % e $ f \\ g { h } # i _ j ^ k ~ l",
    "line one\nline two\u2028line three",
    "[bold red]not markup[/] =1+1",
    "half a pair \ud800, ünïcode 漢字 🙂",
)
WORDS = ("apple", "river", "stone", "cloud", "ember", "forest", "glass", "harbour")
DIMENSION = 16


def made(queries: int = 60, resamples: int = 200) -> tuple[Comparison, Nudge, NDArray[np.float32], NDArray[np.float32]]:
    """Fit half of the queries and compare on the other half; return base vectors of documents and test queries too."""
    rng = np.random.default_rng(0)
    documents = rng.standard_normal((max(40, queries // 4), DIMENSION)).astype(np.float32)
    wanted = rng.integers(0, len(documents) // 2, 2 * queries)
    # What is asked about a document lies to one side of it, so that there is something to learn.
    side = 2.0 * rng.standard_normal(documents.shape)
    noise = 2.0 * rng.standard_normal((2 * queries, DIMENSION))
    asked = (documents[wanted] + side[wanted] + noise).astype(np.float32)
    corpus = {f"d{row}": f"text {row}" for row in range(len(documents))}
    texts = [
        HOSTILE[i] if i < len(HOSTILE) else f"{WORDS[i % 8]} {WORDS[i // 8 % 8]} question {i}" for i in range(queries)
    ]
    train, test = (
        RetrievalDataset(
            corpus,
            {f"q{row}": texts[row % queries] if row >= queries else f"train {row}" for row in rows},
            {f"q{row}": {f"d{wanted[row]}": 1.0} for row in rows},
        )
        for row_set in (range(queries), range(queries, 2 * queries))
        for rows in [list(row_set)]
    )
    nudge = fit(
        train, "toy encoder", document_vectors=documents, query_vectors=asked[:queries], method="nudge-n", step=0.5
    )
    ids, judged = test.document_ids, asked[queries:]
    runs = [
        dict(zip(test.query_ids, ExactIndex(ids, vectors).search(judged, 20)[0], strict=True))
        for vectors in (documents, nudge.apply(ids, documents))
    ]
    found = compare(runs[0], runs[1], test, train=train, query_vectors=judged, clusters=2, resamples=resamples)
    return found, nudge, documents, judged


def made_report(queries: int = 60) -> Report:
    """Return the report of `made`, with everything that a report can hold."""
    comparison, nudge, documents, judged = made(queries)
    moved = drift(
        nudge, [f"d{row}" for row in range(len(documents))], documents, before=comparison.before, after=comparison.after
    )
    return report(
        comparison,
        nudge,
        documents=documents,
        queries=judged,
        drift=moved,
        title="A <b>title</b> & more",
        details={"Data": "made up"},
    )
