"""A LangGraph agent with 199 tools: a nudged retriever offers it three, and it calls one of them.

python examples/langgraph_agent.py --ask "Book me a table for two"

A language model would choose among the three by their descriptions; here the first is taken, so that no key is needed.
"""

from __future__ import annotations

import argparse
from typing import TypedDict

from langchain_core.documents import Document
from langgraph.graph import END, START, StateGraph

from nudge_integrations import RetrievalDataset, SentenceTransformerEncoder, load_demo
from nudge_integrations.langchain import NudgeRetriever, as_embedding

MODEL = "all-MiniLM-L6-v2"


class State(TypedDict, total=False):
    """The state that goes along the edges."""

    request: str
    offered: list[str]
    called: str
    answer: str


def retriever_of(requests: int) -> NudgeRetriever:
    """Fit on labelled requests: each was answered by a tool."""
    train, _ = load_demo()
    ids = train.query_ids[:requests]
    some = RetrievalDataset(train.corpus, {i: train.queries[i] for i in ids}, {i: train.qrels[i] for i in ids})
    documents = [Document(id=key, page_content=text) for key, text in train.corpus.items()]
    embedding = as_embedding(SentenceTransformerEncoder(MODEL, cache_dir="embeddings"))
    return NudgeRetriever.from_documents(documents, embedding, some, k=3)


def agent_of(retriever: NudgeRetriever):
    """Wire the graph: offer tools, choose one, call it."""

    def offer(state: State) -> State:
        return {"offered": [str(document.id) for document in retriever.invoke(state["request"])]}

    def choose(state: State) -> State:
        return {"called": state["offered"][0]}

    def call(state: State) -> State:
        return {"answer": f"{state['called']} was called with {state['request']!r}"}

    graph = StateGraph(State)
    for name, step in (("offer", offer), ("choose", choose), ("call", call)):
        graph.add_node(name, step)
    for source, target in ((START, "offer"), ("offer", "choose"), ("choose", "call"), ("call", END)):
        graph.add_edge(source, target)
    return graph.compile()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ask", required=True)
    parser.add_argument("--requests", type=int, default=2400)
    chosen = parser.parse_args()
    state = agent_of(retriever_of(chosen.requests)).invoke({"request": chosen.ask})
    print(f"offered: {', '.join(state['offered'])}")
    print(state["answer"])


if __name__ == "__main__":
    main()
