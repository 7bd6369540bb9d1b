"""`/raw/{room}`: each frame is a message, and there are no others.

Text is a JSON string in the room's log, and binary ``{"base64": "…"}``; here is
the way from frame to value and back, exact in both directions. What the
protocol has no word for says so to the caller: nothing of the server's own is
ever a frame.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, final

import msgspec

from roomactors.core.data import Data
from roomactors.core.events import Gap, LogEvent, MemberInfo, MemberJoined, MemberLeft, Message
from roomactors.core.ports import Encoder
from roomactors.protocol.json_data import Json

Frame: TypeAlias = Callable[[bytes], bytes]
"""Makes one whole WebSocket frame of a payload."""

_NAME: Final = "base64"
_BINARY_BEGINS: Final = b'{"base64":"'
_BINARY_ENDS: Final = b'"}'

_encode = msgspec.json.Encoder().encode


def text_to_data(payload: bytes) -> Json:
    """The payload of a text frame, valid UTF-8, as a JSON string."""
    return Json(_encode(payload.decode()))


def binary_to_data(payload: bytes) -> Json:
    """The payload of a binary frame as ``{"base64": "…"}``."""
    return Json(
        b"%b%b%b" % (_BINARY_BEGINS, binascii.b2a_base64(payload, newline=False), _BINARY_ENDS)
    )


@final
class RawEncoder(Encoder):
    """Messages as frames of their own kind.

    Args:
      text: makes a WebSocket text frame of a payload.
      binary: makes a WebSocket binary frame of a payload.
    """

    def __init__(self, text: Frame, binary: Frame) -> None:
        self._text, self._binary = text, binary

    def event(self, event: LogEvent) -> bytes:
        """A message as one frame; nothing for who comes and goes."""
        if not isinstance(event, Message):
            return b""
        payload = event.payload
        if payload.startswith(b'"'):
            return self._text(_text_of(payload))
        if payload.startswith(_BINARY_BEGINS):
            binary = _binary_of(payload)
            if binary is not None:
                return self._binary(binary)
        return self._text(bytes(payload))

    def presence(
        self,
        run: Sequence[MemberJoined | MemberLeft | MemberInfo],
        count: int,
    ) -> bytes:
        """Nothing, for the whole run at once."""
        return b""

    def gap(self, gap: Gap) -> None:
        """No frame says it: the connection ends with 4008."""
        return


def _text_of(payload: Data) -> bytes:
    """The text of a JSON string."""
    if payload.find(b"\\") < 0:
        return payload[1:-1]
    return str(payload.value()).encode()


def _binary_of(payload: Data) -> bytes | None:
    """The bytes of ``{"base64": "…"}``; None if this is another value that begins like it."""
    value = payload.value()
    if not isinstance(value, dict) or value.keys() != {_NAME}:
        return None
    text = value[_NAME]
    try:
        binary = binascii.a2b_base64(text)
    except ValueError:
        return None
    # a2b skips what is not base64; binary is only what would have been written exactly so.
    return binary if binascii.b2a_base64(binary, newline=False) == text.encode() else None
