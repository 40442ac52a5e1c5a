"""A search service that takes feedback: search, say what was right, and fit again.

    python examples/feedback_service.py --port 8000
    curl 'localhost:8000/search?q=What+are+the+lucky+colours+for+Capricorn%3F'
    curl -X POST localhost:8000/feedback -H 'content-type: application/json' -d '{"query": "...", "document_id": "..."}'
    curl -X POST localhost:8000/refit

Feedback is appended to a file, one record a line; a fit reads all of it and always starts from base vectors, so fitting
twice is fitting once. While it fits, searches go on with the nudge that was there.
"""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from nudge_integrations import ExactIndex, Nudge, RetrievalDataset, SentenceTransformerEncoder, fit, load_demo

MODEL = "all-MiniLM-L6-v2"


class Feedback(BaseModel):
    """Which document answered a query."""

    query: str
    document_id: str


class Service:
    """Documents, their base vectors, the labels so far, and the nudge that serves."""

    def __init__(self, feedback: Path, requests: int) -> None:
        train, _ = load_demo()
        ids = train.query_ids[:requests]
        self.labels = RetrievalDataset(
            train.corpus, {i: train.queries[i] for i in ids}, {i: train.qrels[i] for i in ids}
        )
        self.encoder = SentenceTransformerEncoder(MODEL, cache_dir="embeddings")
        self.base = self.encoder.encode_documents(list(train.corpus.values()))
        self.feedback = feedback
        self.lock = threading.Lock()
        self.refit()

    def dataset(self) -> RetrievalDataset:
        """Return all labels: those that there were, and the feedback."""
        lines = self.feedback.read_text(encoding="utf-8").splitlines() if self.feedback.exists() else []
        records = [(one["query"], [one["document_id"]]) for one in map(json.loads, lines)]
        if not records:
            return self.labels
        return self.labels.merge(RetrievalDataset.from_records(records, self.labels.corpus))

    def refit(self) -> Nudge:
        """Fit to all labels, then serve the result."""
        with self.lock:
            nudge = fit(self.dataset(), self.encoder, document_vectors=self.base)
            index = ExactIndex(
                self.labels.document_ids,
                nudge.apply(self.labels.document_ids, self.base),
                similarity=nudge.similarity,
            )
            self.serving = nudge, index
            return nudge

    def search(self, query: str, k: int) -> list[dict[str, object]]:
        """Return the best k documents."""
        nudge, index = self.serving
        ids, scores = index.search(nudge.transform_queries(self.encoder.encode_queries([query])), k)
        return [
            {"document_id": i, "score": float(score), "text": self.labels.corpus[i]}
            for i, score in zip(ids[0], scores[0], strict=True)
        ]


def app_of(service: Service) -> FastAPI:
    """Put the service behind three routes."""
    app = FastAPI(title="nudged search")

    @app.get("/search")
    def search(q: str, k: int = 3) -> list[dict[str, object]]:
        return service.search(q, k)

    @app.post("/feedback", status_code=201)
    def feedback(given: Feedback) -> dict[str, int]:
        if given.document_id not in service.labels.corpus:
            raise HTTPException(404, f"there is no document {given.document_id!r}")
        with service.lock, service.feedback.open("a", encoding="utf-8") as file:
            file.write(given.model_dump_json() + "\n")
        return {"labels": len(service.dataset().queries)}

    @app.post("/refit")
    def refit() -> dict[str, object]:
        nudge = service.refit()
        return {"status": nudge.status, "queries": nudge.queries, "before": nudge.baseline, "after": nudge.score}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--feedback", type=Path, default=Path("feedback.jsonl"))
    parser.add_argument("--requests", type=int, default=2400)
    chosen = parser.parse_args()
    uvicorn.run(app_of(Service(chosen.feedback, chosen.requests)), port=chosen.port, log_level="warning")


if __name__ == "__main__":
    main()
