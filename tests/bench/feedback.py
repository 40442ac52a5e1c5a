"""Feedback on real collections: clicks that are biased by position, and noes alone.

    python tests/bench/feedback.py clicks stackfaq scifact tfhub
    python tests/bench/feedback.py noes

Clicks: half of the queries are asked several times; results stand in the order of the base vectors, and the result at
rank r is clicked with probability r^-eta if it is relevant, and noise times that if it is not. Fits are on what was
clicked, as often as it was; on clicks weighted by position; and on the true labels of what was shown. Printed
is nDCG@10 of the other half, and the part of the gap between raw clicks and true labels that weighting closes.

Noes: 200 queries whose first result is wrong say no to it, and nobody says yes. Printed is what the fit is worth to the
other queries.
"""

from __future__ import annotations

import argparse
import logging

import _labelled as labelled
import numpy as np
from _labelled import Collection, Labels
from _ranking import figures
from _tables import markdown
from scipy import sparse

from nudge_integrations.feedback import Feedback, Shown
from nudge_integrations.solver import Solution, solve

_EVERY = ("metatool", "chitchat", "tfhub", "stackfaq", "squad2", "sealtools", "scifact", "nfcorpus")


def halves(collection: Collection, seed: int, most: int = 1500) -> tuple[Labels, Labels]:
    """Return labels to learn from and to judge by."""
    order = np.random.default_rng(seed).permutation(len(collection.labels))
    middle = len(order) // 2
    return collection.labels.take(order[:middle][:most]), collection.labels.take(order[middle:][:most])


def clicked(collection: Collection, train: Labels, seed: int, asked: int, eta: float, noise: float) -> list[Shown]:
    """Return what was shown and clicked."""
    random = np.random.default_rng(seed)
    ranked = np.argsort(-(train.queries @ collection.documents.T), axis=1, kind="stable")[:, :10]
    relevant = np.take_along_axis(train.gains.toarray() > 0, ranked, axis=1)
    chance = np.arange(1.0, 11.0) ** -eta * np.where(relevant, 1.0, noise)
    return [
        Shown(str(query), str(ranked[query, place]), place, bool(hit))
        for _ in range(asked)
        for query, row in enumerate(random.random(chance.shape) < chance)
        for place, hit in enumerate(row)
    ]


def matrices(
    shown: list[Shown], collection: Collection, count: int, how: str
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return gains and weights (m, n) as `Feedback.labels` makes them of clicks."""
    corpus = {str(row): "text" for row in range(len(collection.documents))}
    labels = Feedback(shown=tuple(shown)).labels(corpus, clicks=how)
    shape = (count, len(collection.documents))
    gains, weights = sparse.lil_array(shape), sparse.lil_array(shape)
    for query, grades in labels.dataset.qrels.items():
        row = int(labels.dataset.queries[query])
        for document, grade in grades.items():
            gains[row, int(document)] = grade
            weights[row, int(document)] = labels.weights[query][document]
    return gains.tocsr(), weights.tocsr()


def clicks(name: str, arguments: argparse.Namespace) -> list[str]:
    """Return one row of the table of clicks."""
    found = []
    collection = labelled.read(name)
    for seed in arguments.seeds:
        train, test = halves(collection, seed)
        shown = clicked(collection, train, seed, arguments.asked, arguments.eta, arguments.noise)
        ranked = np.argsort(-(train.queries @ collection.documents.T), axis=1, kind="stable")[:, :10]
        seen = sparse.csr_array(
            (np.ones(ranked.size), (np.repeat(np.arange(len(train)), 10), ranked.ravel())), shape=train.gains.shape
        )
        values = [judged(collection, test, None)]
        for how in ("raw", "weighted"):
            gains, weights = matrices(shown, collection, len(train), how)
            data = collection.documents, train.queries, gains
            fitted = solve(*data, method=arguments.method, weights=weights)
            values.append(judged(collection, test, fitted))
        truth = train.gains.multiply(seen).tocsr()
        fitted = solve(collection.documents, train.queries, truth, method=arguments.method)
        values.append(judged(collection, test, fitted))
        found.append(values)
    mean = np.mean(found, axis=0)
    gap = (mean[2] - mean[1]) / (mean[3] - mean[1])
    return [name, *(f"{value:.2f}" for value in mean), f"{100 * gap:.0f} %"]


def judged(collection: Collection, test: Labels, solution: Solution | None) -> float:
    """Return nDCG@10 of the test queries."""
    documents = collection.documents if solution is None else solution.apply(collection.documents)
    return figures(documents, test)["ndcg@10"]


def noes(name: str, arguments: argparse.Namespace) -> list[str]:
    """Return one row of the table of noes alone."""
    collection, rows = labelled.read(name), []
    for seed in arguments.seeds:
        train, test = halves(collection, seed)
        top = np.argmax(train.queries @ collection.documents.T, axis=1)
        wrong = np.flatnonzero(train.gains[np.arange(len(train)), top] == 0)[:200]
        said = sparse.csr_array(
            (-np.ones(len(wrong)), (np.arange(len(wrong)), top[wrong])), shape=(len(wrong), len(collection.documents))
        )
        solution = solve(collection.documents, train.queries[wrong], said)
        same = train.take(wrong)
        rows.append(
            [judged(collection, part, which) for part in (test, same) for which in (None, solution)] + [solution.step]
        )
    before, after, said_before, said_after, step = np.mean(rows, axis=0)
    each = ", ".join(f"{row[1] - row[0]:+.2f}" for row in rows)
    return [name, f"{before:.2f}", f"{after:.2f}", each, f"{said_after - said_before:+.1f}", f"{step:.3f}"]


def main() -> None:
    """Print the table that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("clicks", "noes"))
    parser.add_argument("collections", nargs="*")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--asked", type=int, default=20, help="how often each query is asked")
    parser.add_argument("--eta", type=float, default=1.0)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--method", default="nudge-n")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    row = clicks if arguments.table == "clicks" else noes
    heads = {
        "clicks": ["collection", "none", "raw clicks", "weighted clicks", "true labels", "gap closed"],
        "noes": ["collection", "none", "after", "change by draw", "the same queries", "step"],
    }
    rows = [row(name, arguments) for name in arguments.collections or _EVERY]
    print(markdown(heads[arguments.table], rows))


if __name__ == "__main__":
    main()
