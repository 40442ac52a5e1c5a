"""The package's source holds nothing that could run what it reads; see docs/security.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "nudge_integrations"
MODULES = sorted(PACKAGE.rglob("*.py"))

MODULES_FORBIDDEN = {
    *("pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code", "codeop", "runpy", "pty"),
    *("subprocess", "multiprocessing", "ctypes", "cffi", "socketserver", "http", "ftplib", "telnetlib", "xmlrpc"),
    *("requests", "httpx", "aiohttp", "urllib3", "yaml", "webbrowser"),
}
CALLS_FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "breakpoint", "input"),
    *("os.system", "os.popen", "os.fork", "os.execv", "os.spawnv", "os.posix_spawn", "os.startfile"),
    *("torch.load", "torch.save", "torch.hub.load", "np.fromregex", "np.memmap"),
    *("socket.socket", "socket.create_connection", "urllib.request.urlopen", "tempfile.mktemp"),
}
# Where a module's name is not written out: a user's own on the command line, and the package's own names.
# A store's client, a tracker and an engine are named by a table in the module itself.
IMPORTERS = {
    *("nudge_integrations/__init__.py", "nudge_integrations/cli/import_paths.py"),
    *("nudge_integrations/scale/__init__.py", "nudge_integrations/trackers/callbacks.py"),
    *("nudge_integrations/stores/opening.py", "nudge_integrations/stores/store.py"),
}
# One folder is exchanged with another in one step by a call of the system that Python does not offer.
SYSTEM_CALLS = {"nudge_integrations/storage/atomic.py"}


def faults_of(source: str, where: str) -> Iterator[str]:
    """Say what a module may not hold."""
    for node in ast.walk(ast.parse(source)):
        line = f"{where}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        yield from (f"{line} imports {name}" for name in names if name.split(".")[0] in MODULES_FORBIDDEN)
        yield from (f"{line} imports {name}" for name in names if name.startswith("urllib.request"))
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in CALLS_FORBIDDEN:
            yield f"{line} calls {called}"
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called.endswith(("np.load", "numpy.load")) and given.get("allow_pickle") != "False":
            yield f"{line} calls np.load without allow_pickle=False"
        if (
            given.get("shell") == "True"
            or given.get("trust_remote_code") == "True"
            or given.get("allow_pickle") == "True"
        ):
            yield f"{line} lets code in"
        if called.split(".")[-1] == "import_module" and not isinstance(node.args[0], ast.Constant):
            yield f"{line} imports a module whose name is not written out"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_source_holds_nothing_that_runs_what_it_reads(module: Path) -> None:
    where = str(module.relative_to(PACKAGE.parent))
    found = list(faults_of(module.read_text(encoding="utf-8"), where))
    if where in IMPORTERS:
        found = [fault for fault in found if not fault.endswith("is not written out")]
    if where in SYSTEM_CALLS:
        found = [fault for fault in found if not fault.endswith("imports ctypes")]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from subprocess import run",
        "def f():\n    import socketserver",
        "eval('1')",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "run(command, shell=True)",
        "importlib.import_module(name)",
        "SentenceTransformer(name, trust_remote_code=True)",
        "import urllib.request",
        "os.system('ls')",
    ],
)
def test_what_may_not_be_there_is_noticed(source: str) -> None:
    assert list(faults_of(source, "module.py"))
