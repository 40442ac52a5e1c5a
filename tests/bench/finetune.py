"""Fine-tuned encoders on a real collection, each alone and under NUDGE-N; see README.md for the protocol.

Slow: every encoder embeds the whole corpus. Vectors and checkpoints are kept in ``--work``, so that a run which was
stopped goes on where it was. Prints a markdown report, or with ``--json`` one JSON object; never fails on a figure.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _labelled import DATA, SAMPLED
from _tables import machine, markdown, note

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
QUICK_QUERIES, QUICK_DOCUMENTS = 45, 200
CHECK_EVERY = 10  # steps, which is what a run that is stopped loses at most

Row = dict[str, Any]


def read(name: str, *, quick: bool) -> RetrievalDataset:
    """Pool the labels of all splits of one collection, or its sample; with ``quick``, take a small part of them."""
    folder = DATA / name
    parts = [RetrievalDataset.from_beir(folder, path.stem) for path in sorted((folder / "qrels").glob("*.tsv"))]
    pooled = parts[0]
    for part in parts[1:]:
        pooled = pooled.merge(part)
    pooled, _ = pooled.repaired()
    names = sorted(pooled.queries)
    if name in SAMPLED:
        names = [names[row] for row in np.sort(np.random.default_rng(0).permutation(len(names))[: SAMPLED[name][1]])]
    if quick:
        names = names[:QUICK_QUERIES]
    qrels = {query: pooled.qrels[query] for query in names}
    kept = list(pooled.corpus)
    if quick:
        answers = dict.fromkeys(document for judged in qrels.values() for document in judged)
        kept = list(dict.fromkeys([*answers, *kept]))[: max(QUICK_DOCUMENTS, len(answers))]
    corpus = {document: pooled.corpus[document] for document in kept}
    return RetrievalDataset(corpus, {query: pooled.queries[query] for query in names}, qrels)


def split(dataset: RetrievalDataset, seed: int) -> tuple[RetrievalDataset, ...]:
    """Split the pooled queries 70/10/20, as the accuracy bench does."""
    ids = sorted(dataset.queries)
    order = np.random.default_rng(seed).permutation(len(ids))
    cuts = np.split(order, [int(0.7 * len(order)), int(0.8 * len(order))])
    parts = [[ids[row] for row in rows] for rows in cuts]
    return tuple(
        RetrievalDataset(dataset.corpus, {q: dataset.queries[q] for q in part}, {q: dataset.qrels[q] for q in part})
        for part in parts
    )


def figures(test: RetrievalDataset, encoder: Encoder, documents: Any) -> dict[str, float]:
    """Rank the whole corpus for the test queries, in percent."""
    index = ExactIndex(test.document_ids, documents)
    found, _ = index.search(encoder.encode_queries(list(test.queries.values())), 10)
    means = evaluate(dict(zip(test.query_ids, found, strict=True)), test, METRICS).means
    return {metric: 100 * value for metric, value in means.items()}


def measure(encoder: Encoder, parts: tuple[RetrievalDataset, ...]) -> dict[str, Row]:
    """An encoder alone, and under NUDGE-N, whose step validation queries choose: the encoder has seen the others."""
    train, validation, test = parts
    documents = encoder.encode_documents(list(train.corpus.values()))
    nudge = fit(train, encoder, validation=validation, method="nudge-n", document_vectors=documents)
    moved = nudge.apply(train.document_ids, documents)
    return {
        "alone": figures(test, encoder, documents),
        "with nudge-n": {**figures(test, encoder, moved), "step": nudge.step, "moved": len(nudge)},
    }


def tuned(
    base: SentenceTransformerEncoder, train: RetrievalDataset, strategy: Any, options: Row, work: Path
) -> Encoder:
    """Fine-tune with one strategy, or go on with that, or read what came of it."""
    folder = work / f"{strategy}-{options['seed']}"
    encoder = finetune_encoder(
        train, base, strategy=strategy, check_every=CHECK_EVERY, output_dir=folder, resume=True, **options
    )
    return CachedEncoder(encoder, work / "embeddings", progress=True)


def run(arguments: argparse.Namespace) -> Row:
    """Measure the model as it is, and each strategy."""
    torch.set_num_threads(arguments.threads)
    work = arguments.work / ("quick" if arguments.quick else arguments.collection)
    dataset = read(arguments.collection, quick=arguments.quick)
    parts = split(dataset, arguments.seed)
    base = SentenceTransformerEncoder(arguments.model, device="cpu", cache_dir=work / "embeddings", progress=True)
    options = {"epochs": arguments.epochs, "temperature": arguments.temperature, "seed": arguments.seed}
    rows: dict[str, Row] = {"none": measure(base, parts)}
    for strategy in arguments.strategies:
        note(strategy)
        rows[strategy] = measure(tuned(base, parts[0], strategy, options, work), parts)
    return {
        "machine": machine(arguments.threads),
        "collection": arguments.collection,
        "quick": arguments.quick,
        "model": arguments.model,
        **options,
        "documents": len(dataset.corpus),
        "queries": [len(part) for part in parts],
        "rows": rows,
    }


def report(result: Row) -> str:
    """The whole result as markdown."""
    train, validation, test = result["queries"]
    lines = [
        [name, *(f"{found[how][metric]:.1f}" for metric in METRICS for how in ("alone", "with nudge-n"))]
        for name, found in result["rows"].items()
    ]
    header = ["encoder", *(f"{metric}{end}" for metric in METRICS for end in ("", " + NUDGE-N"))]
    return (
        f"# Fine-tuned encoders: {result['model']} on {result['collection']}\n\n"
        f"{result['documents']:,} documents; {train} training, {validation} validation and {test} test queries; "
        f"{result['epochs']} epoch(s), seed {result['seed']}; test queries, in percent.\n\n{markdown(header, lines)}\n"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collection", default="scifact")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=1 / 20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "nudge-finetune-bench")
    parser.add_argument("--quick", action="store_true", help="a few hundred documents")
    parser.add_argument("--from", dest="saved", type=Path, help="measure nothing: show a saved JSON object")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of markdown")
    return parser.parse_args()


def main() -> None:
    """Measure what the arguments ask for, or read it, and print it."""
    arguments = _arguments()
    result = json.loads(arguments.saved.read_text()) if arguments.saved else run(arguments)
    sys.stdout.write(json.dumps(result, indent=1) + "\n" if arguments.json else report(result))


if __name__ == "__main__":
    main()
