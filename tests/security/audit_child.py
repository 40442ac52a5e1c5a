"""Reads hostile files under an audit hook that ends everything at the first thing that may not happen."""

from __future__ import annotations

import os
import random
import shutil
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_formats import FORMATS, Format
from fuzz_mutators import damage_sealed
from typer.testing import CliRunner

from nudge_integrations.cli.app import app
from nudge_integrations.errors import NudgeError

FORBIDDEN = (
    *("pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn"),
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "urllib.Request", "webbrowser.open"),
    *("ctypes.dlopen", "code.__new__", "marshal.loads", "shutil.unpack_archive"),
)
EVIL = "import os; os._exit(99)\n"


def main(folder: Path, count: int) -> None:
    """Read every format whole, then damaged; and run the command line in a folder full of traps."""
    for form in FORMATS:  # what is imported late is imported now
        home = folder / "warm" / form.name
        home.mkdir(parents=True)
        form.write(home)
        form.content(home)
    commands(folder / "warm" / "run folder")
    hostile, armed = folder / "hostile", [False]
    sys.addaudithook(hook_of(hostile, armed))
    for form in FORMATS:
        for number in range(count):
            shutil.copytree(folder / "warm" / form.name, hostile)
            damage_sealed(hostile, random.Random(f"{form.name} {number}"))  # noqa: S311
            if number == 0:
                plant(hostile)
            armed[0] = True
            read(form, hostile)
            armed[0] = False
            shutil.rmtree(hostile)


def hook_of(hostile: Path, armed: list[bool]) -> Any:
    """Return a hook that ends the process, where it is armed, at what may not happen."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not armed[0]:
            return
        code = getattr(arguments[0], "co_filename", "") if event == "exec" else ""
        imported = str(arguments[1:]) if event == "import" else ""
        if event in FORBIDDEN or str(hostile) in code or str(hostile) in imported:
            os.write(2, f"{event} {arguments!r:.300}\n".encode())
            os._exit(98)

    return hook


def read(form: Format, folder: Path) -> None:
    """Read a damaged folder; errors of the package are what it should say."""
    with warnings.catch_warnings(), suppress(NudgeError):
        warnings.simplefilter("ignore")
        form.content(folder)
    if form.name == "run folder":
        commands(folder)


def plant(folder: Path) -> None:
    """Put traps for whoever imports or unpickles from a folder."""
    for name in ("numpy", "json", "nudge_integrations", "sitecustomize", "conftest", "torch"):
        (folder / f"{name}.py").write_text(EVIL)
    np.save(folder / "vectors.npy", np.array([print], dtype=object), allow_pickle=True)


def commands(folder: Path) -> None:
    """Run what reads a run, in its folder."""
    here = Path.cwd()
    os.chdir(folder)
    try:
        for arguments in (["inspect", "."], ["report", "."], ["apply", ".", "--vectors", "vectors.npy"]):
            result = CliRunner().invoke(app, arguments)
            if result.exception is not None and not isinstance(result.exception, SystemExit):
                raise result.exception
    finally:
        os.chdir(here)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
