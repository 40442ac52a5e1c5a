"""A simulated year: labels in twelve batches, documents that are edited, deleted and inserted on the way.

    python tests/bench/over_time.py                        # metatool, stackfaq, scifact
    python tests/bench/over_time.py --only stackfaq --method auto
    python tests/bench/over_time.py --task suspects        # planted wrong labels
    python tests/bench/over_time.py --task migrate --encoder my_package.models:encoder
    python tests/bench/over_time.py --task speed           # 100 new labels on 200,000 documents

Each month's refit is compared with a fit on everything: the largest difference of any number of any vector, and seconds
of both. Prints markdown.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nudge_integrations import Nudge, RetrievalDataset, fit, migrate, suspects
from nudge_integrations.corpus import parse_metric
from nudge_integrations.pipeline import labels_over_documents, refit_details
from nudge_integrations.pipeline.served_figures import served_figures

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
NAMES = ("metatool", "stackfaq", "scifact")
MONTHS, EDITED, DELETED, INSERTED = 12, 0.10, 0.05, 0.10

Floats = NDArray[np.float32]


@dataclass
class Collection:
    """Documents, labelled queries and their MiniLM vectors."""

    train: RetrievalDataset
    test: RetrievalDataset
    documents: dict[str, Floats]
    queries: dict[str, Floats]

    @classmethod
    def read(cls, name: str, most: int) -> Collection:
        root = DATA / name
        train, test = RetrievalDataset.from_beir(root, "train"), RetrievalDataset.from_beir(root, "test")
        kept = set(np.random.default_rng(0).permutation(train.query_ids)[:most].tolist())
        train = RetrievalDataset(
            train.corpus,
            {query: text for query, text in train.queries.items() if query in kept},
            {query: grades for query, grades in train.qrels.items() if query in kept},
        )
        return cls(train, test, _vectors(root, "corpus"), _vectors(root, "queries"))

    def of(self, dataset: RetrievalDataset) -> Floats:
        return np.stack([self.queries[query] for query in dataset.queries])


def _vectors(root: Path, what: str) -> dict[str, Floats]:
    rows = np.load(root / "minilm" / f"{what}.f16.npy").astype(np.float32)
    lines = (root / f"{what}.jsonl").read_text(encoding="utf-8").splitlines()
    return {json.loads(line)["_id"]: row for line, row in zip(lines, rows, strict=True)}


@dataclass
class World:
    """The documents of one moment."""

    texts: dict[str, str]
    vectors: dict[str, Floats]
    waiting: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, collection: Collection, random: np.random.Generator) -> World:
        order = random.permutation(list(collection.train.corpus))
        later = set(order[: int(INSERTED * len(order))].tolist())
        texts = {i: text for i, text in collection.train.corpus.items() if i not in later}
        return cls(texts, dict(collection.documents), sorted(later))

    def pass_a_month(self, random: np.random.Generator) -> None:
        """Edit, delete and insert a twelfth of what a year brings."""
        count = len(self.texts) + len(self.waiting)
        chosen = random.permutation(list(self.texts))
        edited, deleted = (max(1, round(share * count / MONTHS)) for share in (EDITED, DELETED))
        for document in chosen[:edited].tolist():
            other = self.vectors[chosen[-1]]
            self.texts[document] += " Edited since."
            self.vectors[document] = self.vectors[document] + 0.5 * other
        for document in chosen[edited : edited + deleted].tolist():
            del self.texts[document]
        for _ in range(min(len(self.waiting), max(1, round(INSERTED * count / MONTHS)))):
            document = self.waiting.pop()
            self.texts[document] = f"document {document}, inserted"

    def base(self) -> Floats:
        return np.stack([self.vectors[document] for document in self.texts])


def year(name: str, method: str, most: int) -> None:
    """Print a row a month."""
    collection, random = Collection.read(name, most), np.random.default_rng(0)
    world, nudge = World.begin(collection, random), None
    order = random.permutation(collection.train.query_ids)
    print(f"\n{name}, {len(order)} labelled queries, {len(world.texts)} documents\n")
    print("| month | labels | wait | gone | edited | method | refit s | fit s | difference | base | nudged |")
    print("| ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for month, part in enumerate(np.array_split(order, MONTHS), start=1):
        if month > 1:
            world.pass_a_month(random)
        served = [q for q in part.tolist() if any(i in world.texts for i in collection.train.qrels[q])]
        new = RetrievalDataset(
            dict(world.texts),
            {query: collection.train.queries[query] for query in served},
            {q: {i: g for i, g in collection.train.qrels[q].items() if i in world.texts} for q in served},
        )
        nudge = _month(collection, world, nudge, new, month, method)


def _month(
    collection: Collection, world: World, nudge: Nudge | None, new: RetrievalDataset, month: int, method: str
) -> Nudge:
    base, rows = world.base(), collection.of(new)
    if nudge is None:
        nudge = fit(new, "minilm", method=method, document_vectors=base, query_vectors=rows)
        return nudge
    start = time.perf_counter()
    details = refit_details(nudge, new, base, documents=world.texts, query_vectors=rows)
    refitted = time.perf_counter()
    everything, _, _ = labels_over_documents(details.nudge.labels, world.texts)
    given: dict[str, Any] = {"document_vectors": base, "query_vectors": collection.of(everything)}
    began = time.perf_counter()
    together = fit(everything, "minilm", method=method, **given)
    seconds = refitted - start, time.perf_counter() - began
    same = details.fitted.ids == together.ids
    apart = float(np.abs(details.fitted.vectors - together.vectors).max(initial=0.0)) if same else np.inf
    changes = details.documents
    before, after = _test(collection, world, details.nudge, base)
    print(
        f"| {month} | {changes.labels} | {changes.waiting} | {len(changes.gone)} | {len(changes.edited)} | "
        f"{details.nudge.method} | {seconds[0]:.2f} | {seconds[1]:.2f} | {apart:.1e} | {before:.1f} | {after:.1f} |",
        flush=True,
    )
    return details.nudge


def _test(collection: Collection, world: World, nudge: Nudge, base: Floats) -> tuple[float, float]:
    qrels = {q: {i: g for i, g in grades.items() if i in world.texts} for q, grades in collection.test.qrels.items()}
    qrels = {query: grades for query, grades in qrels.items() if grades}
    part = RetrievalDataset(world.texts, {query: collection.test.queries[query] for query in qrels}, qrels)
    rows = collection.of(part)
    figures = [served_figures(one, part, base, rows, parse_metric("ndcg@10")).mean() for one in (None, nudge)]
    return 100 * float(figures[0]), 100 * float(figures[1])


def planted(name: str, most: int) -> None:
    """Print how many of 5 % wrong labels are among as many suspects."""
    collection, random = Collection.read(name, most), np.random.default_rng(0)
    pairs = [(query, document) for query, grades in collection.train.qrels.items() for document in grades]
    wrong = {pairs[row] for row in random.choice(len(pairs), len(pairs) // 20, replace=False)}
    ids, changed = collection.train.document_ids, set()
    qrels: dict[str, dict[str, float]] = {query: {} for query in collection.train.queries}
    for query, document in pairs:
        other = ids[random.integers(0, len(ids))] if (query, document) in wrong else document
        qrels[query][other] = 1.0
        changed |= {(query, other)} if other != document else set()
    data = RetrievalDataset(collection.train.corpus, collection.train.queries, qrels)
    base = np.stack([collection.documents[document] for document in data.corpus])
    nudge = fit(data, "minilm", method="nudge", document_vectors=base, query_vectors=collection.of(data))
    found = suspects(nudge, base, documents=data.corpus, most=len(changed))
    hits = sum((one.query_id, one.document) in changed for one in found)
    chance = len(changed) / len(pairs)
    print(
        f"| {name} | {len(pairs)} | {len(changed)} | {hits / len(found):.3f} | {hits / len(found) / chance:.1f} |",
        flush=True,
    )


class Rotated:
    """No second model is at hand: MiniLM's vectors, rotated, with noise of a third of their length."""

    fingerprint = "minilm rotated with noise"

    def __init__(self, collection: Collection) -> None:
        random = np.random.default_rng(1)
        self.rotation = np.linalg.qr(random.standard_normal((384, 384)))[0].astype(np.float32)
        self.by_text = {text: collection.documents[i] for i, text in collection.train.corpus.items()}
        self.by_text |= {text: collection.queries[i] for i, text in collection.train.queries.items()}

    def encode_documents(self, texts: Any) -> Floats:
        rows = np.stack([self.by_text[text] for text in texts])
        noise = np.random.default_rng(2).standard_normal(rows.shape).astype(np.float32) / np.sqrt(rows.shape[1])
        return np.asarray((rows + 0.33 * noise) @ self.rotation, np.float32)

    encode_queries = encode_documents


def another_model(name: str, encoder: str | None, most: int) -> None:
    """Print what each model is worth with and without a nudge."""
    collection = Collection.read(name, most)
    base = np.stack([collection.documents[document] for document in collection.train.corpus])
    given: dict[str, Any] = {"document_vectors": base, "query_vectors": collection.of(collection.train)}
    nudge = fit(collection.train, "minilm", method="nudge", **given)
    model: Any = Rotated(collection)
    if encoder is not None:
        from nudge_integrations.cli.encoders import EncoderChoice, load_encoder

        model = load_encoder(EncoderChoice(encoder))
    print(
        f"\n{name}: {model.fingerprint}\n\n{migrate(nudge, model, collection.train.corpus, old_vectors=base)}",
        flush=True,
    )


def speed(documents: int = 200_000, labels: int = 2_000, new: int = 100) -> None:
    """Print seconds of a refit with new labels on many documents, beside those of a fit on everything."""
    random = np.random.default_rng(0)
    base = random.standard_normal((documents, 384), dtype=np.float32)
    asked = random.integers(0, 500, labels + new)
    hidden = random.standard_normal((500, 384), dtype=np.float32)
    rows = base[asked] + 2.0 * hidden[asked] + 1.5 * random.standard_normal((labels + new, 384), dtype=np.float32)
    corpus = {f"d{number}": f"document {number}" for number in range(documents)}
    data = [
        RetrievalDataset(corpus, {f"q{n}": f"query {n}" for n in part}, {f"q{n}": {f"d{asked[n]}": 1.0} for n in part})
        for part in (range(labels), range(labels, labels + new))
    ]
    for method in ("nudge", "auto"):
        began, used = time.perf_counter(), time.process_time()
        nudge = fit(data[0], "model", method=method, document_vectors=base, query_vectors=rows[:labels])
        first = time.perf_counter() - began, time.process_time() - used
        began, used = time.perf_counter(), time.process_time()
        newer = nudge.refit(data[1], base, query_vectors=rows[labels:])
        second = time.perf_counter() - began, time.process_time() - used
        print(
            f"| {method} | {documents} | {labels} + {new} | {first[0]:.2f} ({first[1]:.2f}) | {second[0]:.2f} "
            f"({second[1]:.2f}) | {nudge.score:.3f} -> {newer.score:.3f} |",
            flush=True,
        )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("year", "suspects", "migrate", "speed"), default="year")
    parser.add_argument("--only", nargs="+", choices=(*NAMES, "squad2", "nfcorpus", "sealtools"), default=NAMES)
    parser.add_argument("--method", default="nudge")
    parser.add_argument("--most", type=int, default=1_000_000, help="queries of each collection at most")
    parser.add_argument("--encoder", help="import path of a second model; else MiniLM rotated with noise")
    asked = parser.parse_args()
    if asked.task == "speed":
        print("| method | documents | labels + new | fit s (CPU) | refit s (CPU) | score |")
        print("| --- | ---: | ---: | ---: | ---: | --- |")
        return speed()
    if asked.task == "suspects":
        print("| collection | labels | planted | precision | times chance |\n| --- | ---: | ---: | ---: | ---: |")
    for name in asked.only:
        if asked.task == "year":
            year(name, asked.method, asked.most)
        elif asked.task == "suspects":
            planted(name, asked.most)
        else:
            another_model(name, asked.encoder, asked.most)
    return None


if __name__ == "__main__":
    main()
