"""What the site adds to the pages in docs/: API pages, the command line, notebooks, the changelog, drawn arrows.

mkdocs calls these functions; `make docs` builds the site.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]


def heading(notebook: Path) -> str:
    """Return a notebook's title."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "".join(cells[0]["source"]).splitlines()[0].lstrip("# ")


ROOMS = {
    "nudge_integrations": "The whole, in flow order",
    "nudge_integrations.llama_index": "LlamaIndex",
    "nudge_integrations.langchain": "LangChain",
    "nudge_integrations.stores": "Live stores",
    "nudge_integrations.scale": "Corpora in files",
    "nudge_integrations.evaluation": "Evaluation",
    "nudge_integrations.evaluation.report": "The report",
    "nudge_integrations.evaluation.explain": "Why, and what next",
    "nudge_integrations.trackers": "Trackers",
    "nudge_integrations.fusion": "Words and other signals",
    "nudge_integrations.generation": "Generated questions",
    "nudge_integrations.finetune": "Fine-tuned encoders",
    "nudge_integrations.solver": "The solver",
    "nudge_integrations.selection": "The choice",
    "nudge_integrations.errors": "Errors",
}
CONTENTS = {
    "": (("index.md", "Home"),),
    "Tutorials": tuple(
        (f"notebooks/{path.name}", heading(path)) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    ),
    "How to": (
        *(("your-data.md", None), ("evaluation.md", None), ("ci.md", None), ("no-labels.md", None)),
        *(("live-stores.md", None), ("over-time.md", None), ("feedback.md", None), ("hybrid-search.md", None)),
        *(("scale.md", None), ("serving.md", None), ("trackers.md", None), ("why.md", None)),
    ),
    "Explanation": (("how-it-works.md", None), ("how-auto-decides.md", None)),
    "Reference": (
        *(("command-line.md", None), ("commands.md", "Every command")),
        *((f"api/{module}.md", title) for module, title in ROOMS.items()),
        *(("accuracy.md", None), ("speed.md", None), ("reliability.md", None), ("security.md", None)),
        ("changelog.md", "Changes"),
    ),
    "Contributing": (("contributing.md", None), ("arrows.md", "Arrows as they are drawn")),
}


def on_config(config: Any) -> Any:
    """List the pages; one that is not there, or that nothing lists, is an error of mkdocs in strict mode."""
    sys.path.insert(0, str(ROOT))
    nav: list[Any] = []
    for title, pages in CONTENTS.items():
        listed = [{name: path} if name else path for path, name in pages]
        nav += listed if not title else [{title: listed}]
    config["nav"] = nav
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add what is not in docs/."""
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        files.append(File(f"notebooks/{notebook.name}", str(ROOT), config["site_dir"], config["use_directory_urls"]))
    pages = {f"api/{module}.md": api_page(module, title) for module, title in ROOMS.items()}
    pages["commands.md"] = commands_page()
    pages["changelog.md"] = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    pages["arrows.md"] = arrows_page()
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links out of docs/ lead to files of the repository, which the site does not hold: they become plain names."""
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", markdown)


def api_page(module: str, title: str) -> str:
    """Return one page for a room: every public name, from its docstring."""
    names = [name for name in importlib.import_module(module).__all__ if not name.startswith("__")]
    parts = [f"# {title}\n\n`{module}`"] + [f"::: {module}.{name}" for name in names]
    return "\n\n".join(parts) + "\n"


def commands_page() -> str:
    """Return the help of every command, from the commands themselves."""
    import typer

    from nudge_integrations.cli.app import app

    parts = ["# Every command"]
    for name, command in described(typer.main.get_command(app), "nudge"):
        rows = [
            f"| `{', '.join(one.opts)}` | {' '.join((getattr(one, 'help', '') or '').split()).replace('|', '&#124;')} |"
            for one in command.params
        ]
        text = re.sub(r"\n(?!\n)", " ", (command.help or "").strip())
        parts.append(f"## {name}\n\n{text}\n\n| option | meaning |\n| --- | --- |\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def described(command: Any, name: str) -> list[tuple[str, Any]]:
    """Return every command with its full name, groups opened."""
    if not hasattr(command, "commands"):
        return [(name, command)]
    return [pair for sub in command.commands.values() for pair in described(sub, f"{name} {sub.name}")]


def arrows_page() -> str:
    """Draw which room imports which, from the imports themselves."""
    package = ROOT / "nudge_integrations"
    arrows: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        room = parts[0]
        if room == "__init__":
            continue
        found = re.findall(r"nudge_integrations\.(\w+)", " ".join(imported(path)))
        arrows.setdefault(room, set()).update(other for other in found if other != room)
    lines = [
        f"| `{room}` | {', '.join(f'`{other}`' for other in sorted(others)) or 'none'} |"
        for room, others in arrows.items()
    ]
    return (
        "# Arrows as they are drawn\n\nEvery import between two rooms of the package, read from the source when this "
        "page was built.\n\n| room | imports |\n| --- | --- |\n" + "\n".join(lines) + "\n"
    )


def imported(path: Path) -> list[str]:
    """Return the dotted names that a module imports, wherever the import stands."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return names + [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
