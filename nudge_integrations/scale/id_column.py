"""Ids of documents in a column of any type: as text, as numbers to compare, and back."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from nudge_integrations.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["id_hashes", "id_texts", "ids_in_type"]

# An odd multiplier has an inverse modulo 2^64; any will do.
_MULTIPLIER, _MIXER = 0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD


def id_texts(column: Any) -> Any:
    """Return a pyarrow array of ids as text, missing ones as null: numbers in digits, bytes in hex, UUIDs as usual.

    Raises:
        InputError: If the ids are of a type that does not identify: floating-point numbers, lists, structs.

    >>> import pyarrow as pa
    >>> id_texts(pa.array([7, None])).to_pylist()
    ['7', None]
    """
    arrow = import_module("pyarrow")
    kind = column.type
    if arrow.types.is_null(kind):
        return arrow.nulls(len(column), arrow.string())
    if arrow.types.is_dictionary(kind):
        return id_texts(column.dictionary_decode())
    if str(kind).startswith("extension<arrow.uuid"):
        return arrow.array(
            [None if v is None else str(UUID(bytes=v)) for v in column.storage.to_pylist()], arrow.string()
        )
    if isinstance(kind, arrow.BaseExtensionType):
        return id_texts(column.storage)
    if _is_bytes(kind):
        return arrow.array([None if v is None else v.hex() for v in column.to_pylist()], arrow.string())
    if arrow.types.is_floating(kind) or arrow.types.is_nested(kind):
        raise InputError(f"ids are {kind}; expected text, whole numbers, UUIDs, dates or bytes: name another column")
    return column.cast(arrow.string())


def ids_in_type(texts: Sequence[str], kind: Any) -> Any:
    """Return ids as a pyarrow array of the type that they came in: the inverse of `id_texts`.

    Raises:
        InputError: If one cannot be of that type.
    """
    arrow = import_module("pyarrow")
    try:
        if arrow.types.is_dictionary(kind):
            return ids_in_type(texts, kind.value_type).dictionary_encode().cast(kind)
        if isinstance(kind, arrow.BaseExtensionType):
            uuids = str(kind).startswith("extension<arrow.uuid")
            inner = [UUID(text).bytes for text in texts] if uuids else None
            storage = ids_in_type(texts, kind.storage_type) if inner is None else arrow.array(inner, kind.storage_type)
            return arrow.ExtensionArray.from_storage(kind, storage)
        if _is_bytes(kind):
            return arrow.array([bytes.fromhex(text) for text in texts], kind)
        if arrow.types.is_integer(kind):
            return arrow.array([int(text) for text in texts], kind)
        if arrow.types.is_decimal(kind):
            return arrow.array([Decimal(text) for text in texts], kind)
        return arrow.array(texts, arrow.string()).cast(kind)
    except (ValueError, ArithmeticError, arrow.ArrowException) as error:
        raise InputError(f"ids such as {texts[0]!r} do not fit the type {kind} of the column ({error})") from error


def id_hashes(texts: Any) -> NDArray[np.uint64]:
    """Return (b,) uint64 of ids as a pyarrow array of text without nulls: equal for equal ids, and seldom otherwise."""
    arrow = import_module("pyarrow")
    texts = texts.cast(arrow.string())
    _, offset_buffer, data_buffer = texts.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    offsets, first = offsets - offsets[0], int(offsets[0])
    data = np.frombuffer(data_buffer or b"", np.uint8)[first : first + int(offsets[-1])].astype(np.uint64) + np.uint64(
        1
    )
    # A polynomial of each text's bytes, all at once: differences of one running sum, shifted back to power 0.
    powers = _powers(_MULTIPLIER, len(data))
    running = np.concatenate([np.zeros(1, np.uint64), np.cumsum(data * powers[:-1], dtype=np.uint64)])
    shifted_back = _powers(pow(_MULTIPLIER, -1, 1 << 64), len(data))[offsets[:-1]]
    sums = (running[offsets[1:]] - running[offsets[:-1]]) * shifted_back
    mixed: NDArray[np.uint64] = (sums ^ (sums >> np.uint64(32))) * np.uint64(_MIXER)
    return mixed ^ (mixed >> np.uint64(29))


def _powers(multiplier: int, count: int) -> NDArray[np.uint64]:
    """Return (count + 1,) powers from 0 on, modulo 2^64."""
    factors = np.full(count + 1, multiplier, np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _is_bytes(kind: Any) -> bool:
    types = import_module("pyarrow").types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))
