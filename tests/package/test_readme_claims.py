"""What README.md says of the project must be so. (Its Python code runs in tests/package/test_readme.py.)"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from nudge_integrations import __version__

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINKS = sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)", README)))


def test_it_says_where_to_begin_first() -> None:
    assert 0 < README.index("make demo") < README.index("## LlamaIndex") < README.index("## LangChain")


@pytest.mark.parametrize("link", LINKS)
def test_links_into_the_project_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ([a-z]+)\b", README))))
def test_make_knows_the_targets(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("extra", sorted(set(",".join(re.findall(r"\[([a-z,-]+)\]'", README)).split(","))))
def test_pip_knows_the_extras(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert extra in project["optional-dependencies"]


@pytest.mark.parametrize("script", sorted(set(re.findall(r"python ([\w/]+\.py)", README))))
def test_the_scripts_exist(script: str) -> None:
    ast.parse((ROOT / script).read_text(encoding="utf-8"))


def test_version_is_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{__version__}]" in changelog


def test_ci_runs_what_a_developer_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    lines = script.read_text(encoding="utf-8").splitlines()
    assert "set -euo pipefail" in lines[: lines.index("make test")]
    done = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    for tool in ("ruff check", "ruff format --check", "mypy", "pytest"):
        assert tool in done.stdout
