"""JSON values as they travel: checked once where they enter, then only copied.

Two ways in: `freeze` for Python values that a program hands over, `check_json`
for text that came over the wire. Both are strict in the same way, so that no
parser anywhere refuses what was let in here: depth, integers of 64 bits, finite
floats, no lone surrogates, no duplicate keys. Nothing here knows of messages,
rooms or frames.

msgspec does the work and is more lenient than that: it writes NaN as ``null``
and sets, bytes and integer keys as if they were JSON, reads integers of any
size, and of duplicate keys takes the last. What it lets through is found by its
own speed: a value that comes back unequal from its own encoding, and a text that
comes back different, are looked at closely; the others cannot have these faults.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Final, final

import msgspec

from roomactors.core.data import Data
from roomactors.errors import InvalidDataError, TooLargeError

MAX_DEPTH: Final = 64
"""Lists and objects within each other; `wire.md`, as many as every parser takes."""

MAX_DATA_BYTES: Final = 65_536
"""Of one value as compact JSON, by default: as much as a client's message may have."""

_LEAST_INT: Final = -(2**63)
_GREATEST_INT: Final = 2**64 - 1

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
# Used for what it refuses: integers beyond 64 bits, which JSON's encoder writes.
_pack = msgspec.msgpack.Encoder().encode

# As signed bytes: one level down, one level up.
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


@final
class Json(Data):
    """One JSON value as compact UTF-8 text."""

    __slots__ = ()

    def value(self) -> object:
        """A fresh Python value, shared with nobody."""
        return _decode(self)


class BadJson(Exception):
    """A text is not JSON, or not JSON that everyone can read; one sentence says why."""


def compact(value: object) -> Json:
    """A value that `check_json` gave, or a part of it, as the text that is kept.

    Encoding again is faster than cutting the value's own text out, which would
    mean reading the message a second time; and it leaves no white space, so that
    the text may stand in any frame of any protocol, one that ends at a newline
    included. It is at most 3.8 times as long as what the client wrote (1e15).
    """
    return Json(_encode(value))


def freeze(value: object, *, max_bytes: int = MAX_DATA_BYTES, what: str = "the data") -> Json:
    """Check a Python value and keep it as JSON.

    Takes None, booleans, integers of 64 bits (-2**63 to 2**64 - 1), finite floats,
    strings, lists, tuples, and dicts whose keys are strings; also their subclasses,
    which become the plain value.

    Args:
      value: what to send.
      max_bytes: how long the JSON text may be; 0 is no limit.
      what: the value's name in the error message.

    Raises:
      InvalidDataError: JSON cannot carry this; it names the problem and its place.
      TooLargeError: the JSON text is longer than `max_bytes`.
    """
    try:
        text = _encode(value)
        faithful = _decode(text) == value
        _pack(value)
    except Exception:  # noqa: BLE001 - whatever a foreign value's code raises: the walk says what is wrong
        text, faithful = b"", False
    if not faithful or _is_too_deep(text):
        text = _encode(_plain(value, ()))
    if max_bytes and len(text) > max_bytes:
        raise TooLargeError(what, len(text), max_bytes)
    return Json(text)


def check_json(text: bytes) -> object:
    """Read one JSON text from the wire.

    Raises:
      BadJson: it is broken, or has what not every JSON parser would read alike.
    """
    try:
        value = _decode(text)
        again = _encode(value)
        _pack(value)
    except RecursionError:
        raise BadJson(_TOO_DEEP) from None
    except OverflowError:
        raise BadJson("an integer needs more than 64 bits") from None
    except UnicodeDecodeError:
        raise BadJson("a string is not valid UTF-8") from None
    except msgspec.MsgspecError as error:
        problem = str(error).removeprefix("JSON is malformed: ")
        raise BadJson(f"this is not JSON: {problem}") from None
    if _is_too_deep(text):
        raise BadJson(_TOO_DEEP)
    # An object has each key once, and so has its text; where the texts differ (white
    # space, escapes, another way to write a number) their keys are counted instead.
    if again != text and _count_keys(again) != _count_keys(text):
        raise BadJson("an object has the same key twice")
    return value


_TOO_DEEP: Final = f"this is nested deeper than {MAX_DEPTH} levels"


def _count_keys(text: bytes) -> int:
    return _outside_strings(text).count(b":")


def _is_too_deep(text: bytes) -> bool:
    """Whether valid JSON is nested deeper than `MAX_DEPTH`."""
    if len(text) <= 2 * MAX_DEPTH or text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    steps = _outside_strings(text).translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b")), default=0) > MAX_DEPTH


def _outside_strings(text: bytes) -> bytes:
    """What valid JSON has outside its strings, all in the speed of C."""
    # Backslashes are found in strings only; without the escaped ones, and then without
    # the escaped quotes, each quote that is left begins or ends a string.
    return b"".join(text.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])


def _plain(value: object, path: tuple[str | int, ...]) -> object:
    """The same value of plain types; raises for what JSON cannot carry."""
    match value:
        case None | bool():
            return value
        case int():
            if not _LEAST_INT <= value <= _GREATEST_INT:
                raise _unfit(path, "is an integer of more than 64 bits")
            return int.__int__(value)
        case float():
            if not float("-inf") < value < float("inf"):
                raise _unfit(path, f"is {float.__repr__(value)}, which JSON has no word for")
            return float.__float__(value)
        case str():
            return _plain_text(value, path, "is")
        case list() | tuple():
            _check_depth(path)
            return [_plain(item, (*path, index)) for index, item in enumerate(value)]
        case dict():
            _check_depth(path)
            return {
                _plain_key(key, path): _plain(item, (*path, key)) for key, item in value.items()
            }
    raise _unfit(path, f"is of type {type(value).__name__}")


def _plain_key(key: object, path: tuple[str | int, ...]) -> str:
    if not isinstance(key, str):
        raise _unfit(path, f"has a key of type {type(key).__name__}, and keys are strings")
    return _plain_text(key, path, "has a key that is")


def _plain_text(text: str, path: tuple[str | int, ...], has: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _unfit(path, f"{has} a string with a lone surrogate") from None
    return str.__str__(text)


def _check_depth(path: tuple[str | int, ...]) -> None:
    if len(path) >= MAX_DEPTH:
        raise _unfit(path, f"is nested deeper than {MAX_DEPTH} levels")


def _unfit(path: tuple[str | int, ...], problem: str) -> InvalidDataError:
    steps = [_step(step) for step in path]
    if len(steps) > 10:
        steps[5:-5] = ["…"]
    return InvalidDataError(f"${''.join(steps)} {problem}")


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if len(step) > 40:
        step = f"{step[:40]}…"
    return f".{step}" if step.isidentifier() else f"[{step!r}]"
