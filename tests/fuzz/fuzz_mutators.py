"""Seeded damage to files: bytes, JSON under a valid checksum, and things that are no files."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nudge_integrations.errors import InputError
from nudge_integrations.storage.sealing import seal

__all__ = ["damage", "damage_sealed"]

MANIFESTS = ("nudge.json", "index.json", "collection.json", "lexical.json", "plan.json", "finetune.json", "search.json")
LOG_LINE = re.compile(rb'\{"crc32": "[0-9a-f]{8}", "record": (.*)\}')

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 10**30, 10**400, 1e308, -1e308, 0.5, [], {}, [[]], [None], {"a": 1}, [1, "a"]),
    *("", "..", "/etc/passwd", "\ud800", "\0", "a" * 5000, "1_0", "\u2028", "NaN", "=1+1", "\x1b[2J"),
)
ODD_TEXTS = (
    *(b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000, b"NaN", b"Infinity", b"-Infinity", b"1e999", b'"\\ud800"'),
    *(b"null", b"\xff\xfe", b"\xef\xbb\xbf", b"\0", b"\t\t", b"\n\n", b"''", b"[]", b"{}", b"inf", b"nan", b"-1"),
)


def damage(folder: Path, rng: random.Random) -> bool:
    """Change the bytes of one file, or put something else in its place; say whether that is of another kind."""
    path = rng.choice(_files(folder))
    if rng.random() < 0.15:
        rng.choice(_KINDS)(path, rng)
        return True
    path.write_bytes(_changed_bytes(path.read_bytes(), rng))
    return False


def damage_sealed(folder: Path, rng: random.Random) -> None:
    """Change what one file says, then make every checksum fit again."""
    path = rng.choice(_files(folder))
    content = path.read_bytes()
    lines = content.split(b"\n")
    log = [number for number, line in enumerate(lines) if LOG_LINE.fullmatch(line)]
    if log:
        number = rng.choice(log)
        match = LOG_LINE.fullmatch(lines[number])
        assert match is not None
        payload = _changed_json(match[1], rng)
        lines[number] = b'{"crc32": "%08x", "record": %s}' % (zlib.crc32(payload), payload)
        path.write_bytes(b"\n".join(lines))
    elif path.name in MANIFESTS:
        _reseal(path, _changed_json(content, rng))
        return
    elif path.suffix in (".json", ".jsonl"):
        number = rng.randrange(len(lines)) if path.suffix == ".jsonl" else 0
        lines = lines if path.suffix == ".jsonl" else [content]
        lines[number] = _changed_json(lines[number], rng)
        path.write_bytes(b"\n".join(lines))
    elif path.suffix == ".vectors":
        path.write_bytes(_with_checksums(_changed_bytes(content, rng)))
    else:
        path.write_bytes(_changed_bytes(content, rng))
    _reseal_beside(path)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _changed_bytes(data: bytes, rng: random.Random) -> bytes:
    at, length = rng.randrange(len(data) + 1), rng.choice((1, 2, 7, 40))
    change = rng.choice(("flip", "cut", "insert", "remove", "repeat", "odd", "random", "empty", "line"))
    if change == "flip" and data:
        at = min(at, len(data) - 1)
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if change == "line":
        lines = data.split(b"\n")
        number = rng.randrange(len(lines))
        lines[number : number + 1] = rng.choice(([], [lines[number]] * 2, [rng.choice(ODD_TEXTS)]))
        return b"\n".join(lines)
    middles = {
        "cut": b"",
        "odd": rng.choice(ODD_TEXTS),
        "insert": rng.randbytes(length),
        "random": rng.randbytes(length),
    }
    if change in ("remove", "repeat"):
        return data[:at] + (data[at : at + length] * 3 if change == "repeat" else b"") + data[at + length :]
    if change == "empty":
        return b""
    return (
        data[:at] + middles.get(change, b"") + (b"" if change == "cut" else data[at + (change == "random") * length :])
    )


def _changed_json(text: bytes, rng: random.Random) -> bytes:
    """Change one value somewhere in a JSON text; sometimes into what no JSON writer would write."""
    try:
        value = json.loads(text)
    except ValueError:
        return _changed_bytes(text, rng)
    places = list(_places(value))
    if not places:
        return rng.choice(ODD_TEXTS)
    container, key = rng.choice(places)
    change = rng.choice(("replace", "replace", "replace", "remove", "add", "swap", "text"))
    if change == "replace":
        container[key] = rng.choice(ODD_VALUES)
    elif change == "remove":
        del container[key]
    elif change == "add" and isinstance(container, list):
        container.insert(key, rng.choice((*ODD_VALUES, container[key])))
    elif change == "add":
        container[rng.choice(("", "added", "files", "..", "\ud800"))] = rng.choice(ODD_VALUES)
    elif change == "swap":
        other, place = rng.choice(places)
        container[key] = other[place]
    else:
        container[key] = "the odd text"
        return _text_of(value).replace(b'"the odd text"', rng.choice(ODD_TEXTS))
    return _text_of(value)


def _text_of(value: Any) -> bytes:
    try:
        return json.dumps(value).encode()
    except ValueError:  # what was swapped in holds itself, or a number of too many digits
        return b"null"


def _places(value: Any) -> Any:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(entries):
        yield value, key
        yield from _places(inner)


def _reseal_beside(path: Path) -> None:
    for name in MANIFESTS:
        manifest = path.with_name(name)
        if manifest.exists():
            content = json.loads(manifest.read_bytes())
            if path.name in content["files"]:
                data = path.read_bytes()
                content["files"][path.name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                _reseal(manifest, json.dumps(content).encode())

    _reseal_batch(path)


def _reseal_batch(path: Path) -> None:
    """Give a batch of a rollout, which is in a folder of the journal's folder, the hash that its plan names."""
    plan = path.parent.with_name("plan.json")
    if plan.exists():
        content = json.loads(plan.read_bytes())
        content["batches"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        _reseal(plan, json.dumps(content).encode())


def _reseal(manifest: Path, text: bytes) -> None:
    try:
        content = json.loads(text)
        content.pop("sha256", None)
        manifest.write_bytes(seal(content))
    except (InputError, ValueError, AttributeError, TypeError, RecursionError):
        manifest.write_bytes(text)


def _with_checksums(data: bytes) -> bytes:
    """Give all whole records of a shard the checksum of what they hold."""
    dimension = int.from_bytes(data[12:16], "little")
    size = 32 + 4 * dimension + 4
    if dimension > 1000:
        return data
    records = [data[start : start + size] for start in range(16, len(data), size)]
    whole = (record[:-4] + zlib.crc32(record[:-4]).to_bytes(4, "little") for record in records if len(record) == size)
    return data[:16] + b"".join(whole)


def _sparse(path: Path, rng: random.Random) -> None:
    os.truncate(path, 5 << 30)


def _replaced(make: Callable[[Path], None]) -> Callable[[Path, random.Random], None]:
    def replace(path: Path, rng: random.Random) -> None:
        path.unlink()
        make(path)

    return replace


def _copied(path: Path, rng: random.Random) -> None:
    path.write_bytes(rng.choice(_files(path.parent)).read_bytes())


_KINDS: tuple[Callable[[Path, random.Random], None], ...] = (
    *(_sparse, _copied, _replaced(os.mkfifo), _replaced(Path.mkdir), _replaced(lambda path: None)),
    *(_replaced(lambda path: path.symlink_to(path)), _replaced(lambda path: path.symlink_to("/dev/zero"))),
    _replaced(lambda path: path.symlink_to("..")),
)
