"""``package.module:name`` -> the object of that name: how a command line is given code of the user's own."""

from __future__ import annotations

import importlib
import os
import re
import sys
from functools import reduce
from typing import Any

from nudge_integrations.errors import InputError

__all__ = ["check_import_path", "is_import_path", "load_object"]

_FORM = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def is_import_path(text: str) -> bool:
    """Tell whether a text has the form of an import path.

    Example:
        >>> is_import_path("package.module:name"), is_import_path("sentence-transformers/all-MiniLM-L6-v2")
        (True, False)
    """
    return _FORM.fullmatch(text) is not None


def check_import_path(text: str) -> None:
    """Refuse what has another form, and import nothing.

    Raises:
        InputError: If it is not ``package.module:name``.
    """
    if not is_import_path(text):
        raise InputError(f"{text!r} is no import path; expected package.module:name")


def load_object(path: str) -> Any:
    """Import a module, also from the current folder, and return what it calls by that name.

    Args:
        path: ``package.module:name``.

    Raises:
        InputError: If it has another form, the module cannot be imported, or it has no such name.

    Example:
        >>> load_object("math:sqrt")(4)
        2.0
    """
    check_import_path(path)
    module_name, _, names = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return reduce(getattr, names.split("."), importlib.import_module(module_name))
    except Exception as error:  # whatever the user's module raises while it is imported
        raise InputError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
