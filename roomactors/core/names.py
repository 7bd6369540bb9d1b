"""Which names a room may have, and which ids a member.

Only the rule lives here; who may use which room is decided elsewhere.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from roomactors.errors import MemberIdError, RoomNameError

MAX_ROOM_NAME_BYTES: Final = 255
"""The longest name, in bytes of UTF-8: what fits a file name and a Redis key without thought."""

MAX_MEMBER_ID_BYTES: Final = 64
"""The longest id of a member, in bytes of UTF-8: a UUID with a prefix, and clients may name it."""


def check_member_id(member: str) -> str:
    """Return the id, if a member may have it: 1 to 64 bytes of UTF-8, no control characters.

    Raises:
      MemberIdError: no member may have this id; `problem` says why.
    """
    problem = _text_problem(member, MAX_MEMBER_ID_BYTES)
    if problem is not None:
        raise MemberIdError(member, problem)
    return member


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
    if str(name).startswith("$"):
        return "begins with '$', and such names belong to the server"
    problem = _text_problem(name, MAX_ROOM_NAME_BYTES)
    if problem is not None:
        return problem
    if not unicodedata.is_normalized("NFC", name):
        return "is not in the Unicode normal form NFC"
    return None


def _text_problem(text: str, most: int) -> str | None:
    if not isinstance(text, str):
        return "must be a string"
    if not text:
        return "is empty"
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "contains half of a surrogate pair"
    if size > most:
        return f"takes {size} bytes of UTF-8 (limit: {most})"
    if any(unicodedata.category(character) == "Cc" for character in text):
        return "contains a control character"
    return None
