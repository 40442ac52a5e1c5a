"""Build sdist and wheel, install the wheel into empty environments with each extra alone, import, and run the demo.

    python tests/package/try_wheel.py [EXTRA ...]

The environment of the base dependencies is whole; those of the extras see it through a ``.pth`` file, so that torch is
installed once. Nothing of the checkout is on any path.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What must be importable with an extra alone; a program instead of a module has a blank in it.
PROOFS = {
    "": ("nudge_integrations", "nudge_integrations.pipeline", "nudge_integrations.stores"),
    "cli": ("nudge_integrations.cli", "nudge --help"),
    "demo": ("nudge_integrations.llama_index", "nudge_integrations.langchain", "nudge demo"),
    "evaluation": ("nudge_integrations.evaluation", "ir_measures"),
    "finetune": ("nudge_integrations.finetune", "peft"),
    "lance": ("nudge_integrations.scale.lance", "lance"),
    "langchain": ("nudge_integrations.langchain",),
    "lexical": ("nudge_integrations.fusion", "bm25s"),
    "llama-index": ("nudge_integrations.llama_index",),
    "mlflow": ("nudge_integrations.trackers", "mlflow"),
    "ray": ("nudge_integrations.scale.ray", "ray.data"),
    "scale": ("nudge_integrations.scale", "pyarrow.parquet"),
    "sentence-transformers": ("nudge_integrations.encoding", "sentence_transformers"),
    "tensorboard": ("nudge_integrations.trackers", "torch.utils.tensorboard"),
    "testing": ("nudge_integrations.testing",),
    "wandb": ("nudge_integrations.trackers", "wandb"),
    **{name: (f"nudge_integrations.stores.{name}",) for name in ("chroma", "faiss", "lancedb", "pgvector", "qdrant")},
}
# Sums of other extras, and what developers install.
SKIPPED = {"all", "dev", "dev-scale", "docs", "examples", "stores"}


def run(*command: str | Path, folder: Path) -> None:
    """Run a program outside the checkout, with nothing of this environment on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}")


def built(folder: Path) -> Path:
    """Build both, look into them, and return the wheel."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, folder=folder)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    foreign = [name for name in names if not name.startswith("nudge_integrations")]
    with tarfile.open(sdist) as archive:
        parts = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    missing = {"nudge_integrations", "tests", "pyproject.toml", "LICENSE", "README.md"} - parts
    if foreign or missing or "nudge_integrations/py.typed" not in names:
        sys.exit(f"the wheel holds {foreign}, the sdist lacks {missing}")
    return wheel


def environment(folder: Path, base: Path | None) -> Path:
    """Make an empty environment; return its folder of programs."""
    run(sys.executable, "-m", "venv", folder, folder=folder.parent)
    if base is not None:
        (packages,) = folder.glob("lib/python*/site-packages")
        (below,) = base.glob("lib/python*/site-packages")
        (packages / "base.pth").write_text(f"{below}\n")
    return folder / "bin"


def main() -> None:
    """Try the extras that are named, else all."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = sys.argv[1:] or sorted(extras.keys() - SKIPPED)
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        wheel = built(folder)
        base = folder / "base"
        for extra in ["", *wanted]:
            programs = environment(base if not extra else folder / extra, base if extra else None)
            install = (programs / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
            if not extra:
                torch = os.environ.get("TORCH", "torch==2.13.0")
                run(*install, *torch.split(), folder=folder)
            run(*install, f"{wheel}[{extra}]" if extra else wheel, folder=folder)
            for proof in PROOFS[extra]:
                if " " in proof:
                    program, *arguments = proof.split()
                    run(programs / program, *arguments, folder=folder)
                else:
                    run(programs / "python", "-c", f"import {proof}", folder=folder)
            print(f"{extra or 'base'}: {', '.join(PROOFS[extra])}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
