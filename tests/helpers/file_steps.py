"""Every step that a writer takes on the file system, seen one by one: named, counted, stopped, or written down.

Calls of ``os`` and what is written through ``open`` and ``io.FileIO`` pass through a `FileSteps`, as far as they
concern one folder. A subclass says what happens at a step.
"""

from __future__ import annotations

import builtins
import io
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["FileSteps", "Killed", "Killer", "Moment", "Step", "StepNames", "Stopper", "normal_name"]

Moment = Literal["before", "half", "after"]

# Random parts of names: tokens, hashes, uuids.
_RANDOM = re.compile(r"[0-9a-f]{16,64}")


def normal_name(name: str) -> str:
    """Return a name without its random parts, so that two runs have the same ones."""
    return _RANDOM.sub("*", name)


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        kind: ``"create"``, ``"write"``, ``"truncate"``, ``"replace"``, ``"unlink"``, ``"mkdir"``, ``"rmdir"`` or
            ``"fsync"``.
        paths: The paths that it concerns: two of a replacement, else one.
        data: What is written.
    """

    kind: str
    paths: tuple[Path, ...]
    data: bytes = b""

    def name(self, root: Path) -> str:
        """Say what it does, without random parts of names."""
        return f"{self.kind} {' -> '.join(normal_name(str(path.relative_to(root))) for path in self.paths)}"


class FileSteps:
    """Passes every step on; subclasses do something at them.

    Args:
        root: The folder whose steps count; those of other folders are not seen.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))

    def step(self, step: Step, perform: Callable[[bytes | None], Any]) -> Any:
        """Take a step.

        Args:
            step: The step.
            perform: Performs it; takes what is to be written instead of all, None for all.
        """
        return perform(None)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See the steps of this process for the length of a block."""
        self._former: list[tuple[Any, str, Any]] = []
        try:
            self._patch_names()
            self._patch_files()
            yield
        finally:
            for module, name, original in reversed(self._former):
                setattr(module, name, original)

    def _replace(self, module: Any, name: str, wrapped: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        original = getattr(module, name)
        self._former.append((module, name, original))
        setattr(module, name, wrapped(original))

    def _patch_names(self) -> None:
        def of_path(kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
            return lambda original: (
                lambda path, *rest, dir_fd=None, **options: self._taken(
                    Step(kind, (self._path(path, dir_fd),)), lambda _: original(path, *rest, dir_fd=dir_fd, **options)
                )
            )

        def of_two(original: Callable[..., Any]) -> Callable[..., Any]:
            return lambda source, target, **options: self._taken(
                Step("replace", (self._path(source), self._path(target))),
                lambda _: original(source, target, **options),
            )

        for name in ("unlink", "remove"):
            self._replace(os, name, of_path("unlink"))
        for name in ("mkdir", "rmdir"):
            self._replace(os, name, of_path(name))
        for name in ("replace", "rename"):
            self._replace(os, name, of_two)

    def _patch_files(self) -> None:
        steps = self

        def of_handle(kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
            return lambda original: (
                lambda handle, *rest: steps._taken(Step(kind, (_path_of(handle),)), lambda _: original(handle, *rest))
            )

        def opened(original: Callable[..., int]) -> Callable[..., int]:
            def call(path: Any, flags: int, *rest: Any, **options: Any) -> int:
                if not flags & os.O_CREAT or os.path.lexists(path):
                    return original(path, flags, *rest, **options)
                step = Step("create", (steps._path(path, options.get("dir_fd")),))
                return int(steps._taken(step, lambda _: original(path, flags, *rest, **options)))

            return call

        def pwrite(original: Callable[..., int]) -> Callable[..., int]:
            return lambda handle, data, offset: int(
                steps._taken(
                    Step("write", (_path_of(handle),), bytes(data)),
                    lambda part: original(handle, data if part is None else part, offset),
                )
            )

        self._replace(os, "fsync", of_handle("fsync"))
        self._replace(os, "ftruncate", of_handle("truncate"))
        self._replace(os, "open", opened)
        self._replace(os, "pwrite", pwrite)
        watched = _watched_file(self)
        self._replace(io, "FileIO", lambda original: watched)
        for module in (io, builtins):
            self._replace(module, "open", lambda original: self._opened(original, watched))

    def _opened(self, original: Callable[..., Any], watched: type[io.FileIO]) -> Callable[..., Any]:
        def call(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **options: Any) -> Any:
            path = None if isinstance(file, int) else self._path(file)
            if path is None or not self._inside(path) or not set(mode) & set("wxa+"):
                return original(file, mode, buffering, *rest, **options)
            if "b" not in mode:
                raise NotImplementedError(f"text written through open({path}, {mode!r}) is not watched")
            raw = watched(os.fspath(file), mode.replace("b", ""))
            return raw if buffering == 0 else (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)

        return call

    def _path(self, path: Any, folder: int | None = None) -> Path:
        """Return where a path is, with links of its folder followed but not of its own name."""
        whole = os.path.join(_path_of(folder), path) if folder is not None else os.fspath(path)
        head, tail = os.path.split(os.path.abspath(whole))
        return Path(os.path.realpath(head), tail)

    def _inside(self, path: Path) -> bool:
        return path == self.root or self.root in path.parents

    def _taken(self, step: Step, perform: Callable[[bytes | None], Any]) -> Any:
        if not any(map(self._inside, step.paths)):
            return perform(None)
        return self.step(step, perform)


def _path_of(handle: int | None) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{handle}"))


def _watched_file(steps: FileSteps) -> type[io.FileIO]:
    class WatchedFile(io.FileIO):
        def __init__(self, file: Any, mode: str = "r", *rest: Any, **options: Any) -> None:
            self._where: Path | None = None
            if isinstance(file, int):
                super().__init__(file, mode, *rest, **options)
                self._where = _path_of(file)
                return
            self._where = steps._path(file)
            kind = "truncate" if os.path.lexists(file) else "create"
            if not set(mode) & set("wx") and kind == "truncate":
                super().__init__(file, mode, *rest, **options)
            else:
                made = super().__init__
                steps._taken(Step(kind, (self._where,)), lambda _: made(file, mode, *rest, **options))

        def write(self, data: Any, /) -> int:
            assert self._where is not None
            if not (content := bytes(data)):
                return 0
            written = super().write
            return int(
                steps._taken(
                    Step("write", (self._where,), content),
                    lambda part: written(content if part is None else part),
                )
            )

        def truncate(self, size: int | None = None, /) -> int:
            assert self._where is not None
            cut = super().truncate
            return int(steps._taken(Step("truncate", (self._where,)), lambda _: cut(size)))

    return WatchedFile


class StepNames(FileSteps):
    """Notes the names of all steps."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.names: list[str] = []

    def step(self, step: Step, perform: Callable[[bytes | None], Any]) -> Any:
        """Note the step's name and take it."""
        self.names.append(step.name(self.root))
        return perform(None)


class Killed(BaseException):
    """The process ends: nothing that it does afterwards has an effect."""


class Killer(FileSteps):
    """Ends the process, by SIGKILL, before, in the middle of, or after one step.

    Args:
        root: The folder whose steps count.
        point: The number of the step, from 0.
        moment: ``"half"`` has an effect where something is written.
    """

    def __init__(self, root: Path, point: int, moment: Moment) -> None:
        super().__init__(root)
        self.left, self.moment = point, moment

    def step(self, step: Step, perform: Callable[[bytes | None], Any]) -> Any:
        """Take the step, unless the process ends at it."""
        self.left -= 1
        if self.left >= 0:
            return perform(None)
        try:
            if self.moment == "after":
                perform(None)
            elif self.moment == "half" and step.data:
                perform(step.data[: len(step.data) // 2])
        finally:
            self.end()
        return None

    def end(self) -> None:
        """End the process."""
        os.kill(os.getpid(), signal.SIGKILL)


class Stopper(Killer):
    """Stands for a kill within one process: raises `Killed` at one step and at every later one."""

    def end(self) -> None:
        """Raise."""
        self.moment = "before"
        raise Killed
