"""A LlamaIndex app: the first start fits and keeps a folder, later ones load it.

python examples/llama_index_app.py --ask "What are the lucky colours for Capricorn?"
"""

from __future__ import annotations

import argparse
from pathlib import Path

from llama_index.core.schema import TextNode

from nudge_integrations import Nudge, RetrievalDataset, SentenceTransformerEncoder, load_demo
from nudge_integrations.llama_index import NudgeFinetuneEngine, NudgeRetriever, as_embedding

MODEL = "all-MiniLM-L6-v2"


def fitted(folder: Path, encoder: SentenceTransformerEncoder, requests: int) -> Nudge:
    """Load the nudge that the folder holds, or fit one and keep it."""
    if (folder / "nudge.json").exists():
        return Nudge.load(folder, encoder=encoder)
    train, _ = load_demo()
    ids = train.query_ids[:requests]
    some = RetrievalDataset(train.corpus, {i: train.queries[i] for i in ids}, {i: train.qrels[i] for i in ids})
    engine = NudgeFinetuneEngine(some, as_embedding(encoder))
    engine.finetune()
    engine.save(folder)
    return Nudge.load(folder, encoder=encoder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ask", required=True)
    parser.add_argument("--folder", type=Path, default=Path("nudged-tools"))
    parser.add_argument("--requests", type=int, default=2400)
    chosen = parser.parse_args()
    encoder = SentenceTransformerEncoder(MODEL, cache_dir="embeddings")
    nudge = fitted(chosen.folder, encoder, chosen.requests)
    nodes = [TextNode(id_=key, text=text) for key, text in load_demo()[0].corpus.items()]
    retriever = NudgeRetriever(nodes, encoder, nudge, similarity_top_k=3)
    for hit in retriever.retrieve(chosen.ask):
        print(f"{hit.score:.3f}  {hit.node.text}")


if __name__ == "__main__":
    main()
