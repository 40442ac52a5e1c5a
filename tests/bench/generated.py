"""Generated questions beside real ones: the same fit, with labels that a script wrote.

    python tests/bench/generated.py --json > tests/bench/results/generated.json

No language model is asked. For each document a script takes two sentences and keeps the eight words of each that are
rarest in the corpus, in their order: what a careless questioner would type. A language model asks better; the row says
how far a fit gets on labels that cost nothing.

Protocol: two collections; documents' and real queries' vectors as they lie beside the checkout (all-MiniLM-L6-v2),
questions embedded by the same model; `fit` with its defaults; nDCG@10 of the collection's own test queries, which
nothing has seen. The round trip keeps questions whose document is among the ten nearest. Seed 0.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from _tables import markdown, note
from numpy.typing import NDArray

from nudge_integrations import ExactIndex, RetrievalDataset, SentenceTransformerEncoder, evaluate, fit

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
COLLECTIONS = ("squad2", "scifact")
_WORDS, _DOCUMENTS, _ROUND_TRIP = 8, 1000, 10


def scripted(corpus: dict[str, str], seed: int) -> dict[str, tuple[str, str]]:
    """Return question id -> its text and its document: two a document, of at most a thousand documents."""
    rng = np.random.default_rng(seed)
    words = {key: re.findall(r"\w+", text.lower()) for key, text in corpus.items()}
    counts = Counter(word for found in words.values() for word in set(found))
    rarity = {word: math.log(len(corpus) / count) for word, count in counts.items()}
    made = {}
    chosen = rng.permutation(len(corpus))[:_DOCUMENTS]
    for key in np.array(list(corpus))[np.sort(chosen)]:
        sentences = [part for part in re.split(r"(?<=[.!?])\s+", corpus[key]) if len(part.split()) >= 5]
        for number, at in enumerate(rng.permutation(len(sentences))[:2]):
            tokens = re.findall(r"\w+", sentences[at])
            best = sorted(range(len(tokens)), key=lambda i: -rarity.get(tokens[i].lower(), 0.0))[:_WORDS]
            made[f"{key}-{number}"] = (" ".join(tokens[i] for i in sorted(best)), str(key))
    return made


def vectors_of(folder: Path, name: str) -> tuple[list[str], NDArray[np.float32]]:
    lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ids = [json.loads(line)["_id"] for line in lines]
    return ids, np.load(folder / "minilm" / f"{name}.f16.npy").astype(np.float32)


def measured(name: str, encoder: SentenceTransformerEncoder) -> dict[str, Any]:
    folder = DATA / name
    train, test = (RetrievalDataset.from_beir(folder, split) for split in ("train", "test"))
    ids, base = vectors_of(folder, "corpus")
    base = base[[{key: row for row, key in enumerate(ids)}[key] for key in test.document_ids]]
    query_ids, every = vectors_of(folder, "queries")
    row_of = {key: row for row, key in enumerate(query_ids)}
    asked = every[[row_of[key] for key in test.query_ids]]
    index = ExactIndex(test.document_ids, base)

    def score(labels: RetrievalDataset | None, vectors: Any) -> dict[str, Any]:
        if labels is None:
            return {"labels": 0, "ndcg@10": 100 * evaluate((index, asked), test, ["ndcg@10"]).means["ndcg@10"]}
        nudge = fit(labels, encoder.fingerprint, document_vectors=base, query_vectors=vectors)
        moved = ExactIndex(test.document_ids, nudge.apply(test.document_ids, base), similarity=nudge.similarity)
        means = evaluate((moved, nudge.transform_queries(asked)), test, ["ndcg@10"]).means
        note(f"{name}: {len(labels.queries)} labels, {nudge.method}, {100 * means['ndcg@10']:.1f}")
        return {"labels": len(labels.queries), "method": nudge.method, "ndcg@10": 100 * means["ndcg@10"]}

    questions = scripted(dict(test.corpus), 0)
    vectors = encoder.encode_queries([text for text, _ in questions.values()])
    nearest = index.search(vectors, _ROUND_TRIP)[0]
    kept = np.array([document in found for (_, document), found in zip(questions.values(), nearest, strict=True)])
    filtered = {key: value for (key, value), keep in zip(questions.items(), kept, strict=True) if keep}

    def labels_of(some: dict[str, tuple[str, str]]) -> RetrievalDataset:
        texts = {key: text for key, (text, _) in some.items()}
        return RetrievalDataset(test.corpus, texts, {key: {document: 1.0} for key, (_, document) in some.items()})

    learned = every[[row_of[key] for key in train.query_ids]]
    few = np.sort(np.random.default_rng(0).permutation(len(train))[:100])
    hundred = [train.query_ids[row] for row in few]
    small = RetrievalDataset(train.corpus, {i: train.queries[i] for i in hundred}, {i: train.qrels[i] for i in hundred})
    return {
        "none": score(None, None),
        "scripted questions": score(labels_of(questions), vectors),
        "scripted, round trip": score(labels_of(filtered), vectors[kept]),
        "100 real queries": score(small, learned[few]),
        "all real queries": score(train, learned),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    encoder = SentenceTransformerEncoder("all-MiniLM-L6-v2")
    found = {name: measured(name, encoder) for name in COLLECTIONS if (DATA / name).is_dir()}
    if as_json:
        sys.stdout.write(json.dumps({"metric": "ndcg@10", "seed": 0, "collections": found}, indent=1) + "\n")
    else:
        rows = [[row, *(f"{one[row]['ndcg@10']:.1f}" for one in found.values())] for row in next(iter(found.values()))]
        sys.stdout.write(markdown(["labels", *found], rows) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
