"""Files that were written by released versions: every later version reads them, and reads the same.

``python tests/fuzz/test_golden.py`` writes those of the formats that ``tests/golden`` does not have yet, and changes
none that are there.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from fuzz_formats import FORMATS, Format

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
KEPT = [form for form in FORMATS if form.checked]


def rounded(value: Any) -> Any:
    """Return JSON values with floats that are the same with every version of numpy."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {str(key): rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def name_of(form: Format) -> str:
    return re.sub(r"\W+", "-", form.name)


@pytest.mark.parametrize("folder", sorted(GOLDEN.iterdir()), ids=lambda folder: folder.name)
def test_what_a_release_wrote_is_read_by_every_later_one(folder: Path, tmp_path: Path) -> None:
    form = next(form for form in KEPT if folder.name.startswith(f"{name_of(form)}-of-"))
    shutil.copytree(folder / "files", tmp_path / "files")
    expected = json.loads((folder / "content.json").read_text())
    assert rounded(form.content(tmp_path / "files")) == expected


def test_every_format_has_files_of_a_release() -> None:
    kept = {path.name.partition("-of-")[0] for path in GOLDEN.iterdir()}
    assert kept == {name_of(form) for form in KEPT}


def write_missing(release: str) -> None:
    """Write what is not there yet."""
    for form in KEPT:
        folder = GOLDEN / f"{name_of(form)}-of-{release}"
        if not folder.exists():
            (folder / "files").mkdir(parents=True)
            form.write(folder / "files")
            text = json.dumps(rounded(form.content(folder / "files")), indent=1)
            (folder / "content.json").write_text(text + "\n")


if __name__ == "__main__":
    write_missing("0.2.0")
