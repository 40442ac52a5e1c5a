"""Fine-tuned encoders on a real collection, each alone and under nudges; see README.md for the protocol.

Slow: every encoder embeds the whole corpus. Vectors and checkpoints are kept in ``--work``, so that a run which was
stopped goes on where it was. Prints a markdown report, or with ``--json`` one JSON object; never fails on a figure.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import _labelled as labelled
import numpy as np
import torch
from _splits import TABLES
from _tables import TITLES, machine, markdown, note

from nudge_integrations import (
    CachedEncoder,
    Encoder,
    ExactIndex,
    RetrievalDataset,
    SentenceTransformerEncoder,
    evaluate,
    fit,
)
from nudge_integrations.finetune import finetune_encoder
from nudge_integrations.finetune.strategies import STRATEGIES

METRICS = ("ndcg@10", "hit@1", "recall@10")
NUDGES = ("nudge-n", "nudge-m", "contrastive")
QUICK_QUERIES, QUICK_DOCUMENTS = 45, 200
CHECK_EVERY = 10  # steps, which is what a run that is stopped loses at most

Row = dict[str, Any]


class Parts(NamedTuple):
    """Queries to learn from, to choose by and to judge by, over one corpus."""

    train: RetrievalDataset
    validation: RetrievalDataset
    test: RetrievalDataset


def read(name: str, table: str, seed: int, *, quick: bool) -> list[Parts]:
    """Split one collection as the accuracy bench does; with ``quick``, a small part of it."""
    collection = labelled.read(name)
    folder = labelled.DATA / labelled.source(name)
    pooled, *others = (RetrievalDataset.from_beir(folder, path.stem) for path in sorted(folder.glob("qrels/*.tsv")))
    for part in others:
        pooled = pooled.merge(part)
    ids, labels, kept = collection.query_ids, collection.labels, list(pooled.corpus)
    if quick:
        ids, labels = ids[:QUICK_QUERIES], labels.take(np.arange(QUICK_QUERIES))
        answers = dict.fromkeys(document for query in ids for document in pooled.qrels[query])
        kept = list(dict.fromkeys([*answers, *kept]))[: max(QUICK_DOCUMENTS, len(answers))]
    corpus = {document: pooled.corpus[document] for document in kept}

    def dataset(rows: labelled.IntArray) -> RetrievalDataset:
        queries = [ids[row] for row in rows]
        return RetrievalDataset(corpus, {q: pooled.queries[q] for q in queries}, {q: pooled.qrels[q] for q in queries})

    return [Parts(*map(dataset, rows)) for rows in TABLES[table][0](labels, seed)]


def figures(test: RetrievalDataset, encoder: Encoder, documents: Any) -> dict[str, float]:
    """Rank the whole corpus for the test queries, in percent."""
    index = ExactIndex(test.document_ids, documents)
    found, _ = index.search(encoder.encode_queries(list(test.queries.values())), 10)
    means = evaluate(dict(zip(test.query_ids, found, strict=True)), test, METRICS).means
    return {metric: 100 * value for metric, value in means.items()}


def measure(title: str, encoder: Encoder, parts: Parts) -> dict[str, Row]:
    """An encoder alone and under nudges, whose step validation queries choose: the encoder has seen the others."""
    train, validation, test = parts
    documents = encoder.encode_documents(list(train.corpus.values()))
    rows = {title: figures(test, encoder, documents)}
    for method in NUDGES:
        # As the paper does, without a guard: a tenth of the labels says little beyond noise.
        nudge = fit(
            train, encoder, validation=validation, method=method, document_vectors=documents, standard_errors=0.0
        )
        rows[f"{title} + {method}"] = figures(test, encoder, nudge.apply(train.document_ids, documents))
        note(f"{title} + {method}: step {nudge.step:.3g}, {len(nudge)} documents moved")
    return rows


def tuned(base: SentenceTransformerEncoder, parts: Parts, strategy: Any, options: Row, folder: Path) -> Encoder:
    """Fine-tune with one strategy, or go on with that, or read what came of it."""
    encoder = finetune_encoder(
        parts.train, base, strategy=strategy, check_every=CHECK_EVERY, output_dir=folder, resume=True, **options
    )
    return CachedEncoder(encoder, folder.parent / "embeddings", progress=True)


def run(arguments: argparse.Namespace) -> Row:
    """Measure the model as it is, and each strategy, on every split."""
    torch.set_num_threads(arguments.threads)
    work = arguments.work / ("quick" if arguments.quick else arguments.collection)
    splits = read(arguments.collection, arguments.table, arguments.seed, quick=arguments.quick)
    base = SentenceTransformerEncoder(arguments.model, device="cpu", cache_dir=work / "embeddings", progress=True)
    options = {"epochs": arguments.epochs, "temperature": arguments.temperature, "seed": arguments.seed}
    found = []
    for number, parts in enumerate(splits):
        rows = measure("none", base, parts)
        for strategy in arguments.strategies:
            folder = work / f"{strategy}-{arguments.epochs}-{arguments.table}-{arguments.seed}-{number}"
            title = f"{strategy}, {arguments.epochs} epoch{'s' * (arguments.epochs > 1)}"
            rows |= measure(title, tuned(base, parts, strategy, options, folder), parts)
        found.append(rows)
    return {
        "machine": machine(arguments.threads),
        "collection": arguments.collection,
        "table": arguments.table,
        "quick": arguments.quick,
        "model": arguments.model,
        "temperature": arguments.temperature,
        "seed": arguments.seed,
        "documents": len(splits[0].train.corpus),
        "queries": [[len(part) for part in parts] for parts in splits],
        "rows": {
            title: {metric: float(np.mean([rows[title][metric] for rows in found])) for metric in METRICS}
            for title in found[0]
        },
    }


def join(results: list[Row]) -> Row:
    """Several runs on one collection and table as one."""
    return {**results[0], "rows": {title: row for result in results for title, row in result["rows"].items()}}


def report(result: Row) -> str:
    """The whole result as markdown."""
    lines = [[title, *(f"{row[metric]:.1f}" for metric in METRICS)] for title, row in result["rows"].items()]
    counts = "; ".join("{} training, {} validation and {} judged queries".format(*part) for part in result["queries"])
    return (
        f"# Fine-tuned encoders: {result['model']} on {result['collection']}, {TITLES[result['table']]}\n\n"
        f"{result['documents']:,} documents; {counts}; seed {result['seed']}; in percent.\n\n"
        f"{markdown(['encoder', *METRICS], lines)}\n"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collection", default="scifact")
    parser.add_argument("--table", choices=list(TABLES), default="test")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--temperature", type=float, default=1 / 20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "nudge-finetune-bench")
    parser.add_argument("--quick", action="store_true", help="a few hundred documents")
    parser.add_argument("--from", dest="saved", nargs="+", type=Path, help="measure nothing: join saved JSON objects")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of markdown")
    return parser.parse_args()


def main() -> None:
    """Measure what the arguments ask for, or read it, and print it."""
    arguments = _arguments()
    saved = arguments.saved
    result = join([json.loads(path.read_text()) for path in saved]) if saved else run(arguments)
    sys.stdout.write(json.dumps(result, indent=1) + "\n" if arguments.json else report(result))


if __name__ == "__main__":
    main()
