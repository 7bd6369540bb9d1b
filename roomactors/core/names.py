"""Which names a room may have.

Only the rule lives here; who may use which room is decided elsewhere.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from roomactors.errors import RoomNameError

MAX_ROOM_NAME_BYTES: Final = 255
"""The longest name, in bytes of UTF-8: what fits a file name and a Redis key without thought."""


def check_room_name(name: str) -> str:
    """Return the name, if a room may have it.

    A name is 1 to 255 bytes of UTF-8 without control characters (Unicode
    category Cc), in the normal form NFC, so that names that look the same are
    the same; names that begin with ``$`` belong to the server. The line and
    paragraph separators U+2028 and U+2029 are no control characters and are
    allowed: quote a name where a line may not break (``repr`` does).

    Raises:
      RoomNameError: no room may have this name; `problem` says why.
    """
    # Nearly every name is short printable ASCII, and then this line is all of the work.
    if (
        type(name) is str
        and 0 < len(name) <= MAX_ROOM_NAME_BYTES
        and name.isascii()
        and name.isprintable()
        and name[0] != "$"
    ):
        return name
    problem = _problem(name)
    if problem is not None:
        raise RoomNameError(name, problem)
    return name


def _problem(name: str) -> str | None:
    """Why no room may have this name, as the end of a sentence; None if one may."""
    if not isinstance(name, str):
        return "must be a string"
    if not name:
        return "is empty"
    if name[0] == "$":
        return "begins with '$', and such names belong to the server"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "contains half of a surrogate pair"
    if size > MAX_ROOM_NAME_BYTES:
        return f"takes {size} bytes of UTF-8 (limit: {MAX_ROOM_NAME_BYTES})"
    if any(unicodedata.category(character) == "Cc" for character in name):
        return "contains a control character"
    if not unicodedata.is_normalized("NFC", name):
        return "is not in the Unicode normal form NFC"
    return None
