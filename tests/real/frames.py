"""Frames as a client writes them, right and wrong, and as a server must write them.

Written from RFC 6455 anew, so that the server is not measured with its own parser.
"""

from __future__ import annotations

from typing import Final

import attrs

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

MASK: Final = bytes.fromhex("37fa213d")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    width: int | None = None,
    length: int | None = None,
) -> bytes:
    """A client's frame.

    Args:
      opcode: any of the sixteen.
      payload: before masking.
      fin: whether it ends its message.
      rsv: the three reserved bits as a number; 4 is RSV1.
      masked: whether there is a mask.
      width: bytes of extended length (0, 2 or 8); None chooses the shortest form.
      length: the length to declare; None declares the payload's own.
    """
    length = len(payload) if length is None else length
    if width is None:
        width = 0 if length < 126 else 2 if length < 1 << 16 else 8
    short = {0: length, 2: 126, 8: 127}[width]
    head = bytes((fin << 7 | rsv << 4 | opcode, masked << 7 | short))
    head += length.to_bytes(width, "big") if width else b""
    return head + (MASK + mask(payload) if masked else payload)


def mask(payload: bytes) -> bytes:
    """What `payload` looks like under `MASK`."""
    repeated = MASK * (len(payload) // 4 + 1)
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[: len(payload)], "big")
    return masked.to_bytes(len(payload), "big")


def close(code: int, reason: bytes = b"") -> bytes:
    """A client's close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def fragments(*parts: bytes, opcode: int = TEXT, between: bytes = b"") -> bytes:
    """One message of as many frames as there are parts, with other frames between them."""
    last = len(parts) - 1
    return between.join(
        frame(opcode if number == 0 else CONTINUATION, part, fin=number == last)
        for number, part in enumerate(parts)
    )


@attrs.frozen
class Frame:
    """What came from the server."""

    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int:
        """The code of a close frame; 1005 if it has none."""
        assert self.opcode == CLOSE
        return int.from_bytes(self.payload[:2], "big") if self.payload else 1005


def take_frame(buffer: bytearray) -> Frame | None:
    """Take the first frame out of what came from the server; None if it is not whole yet.

    Raises:
      AssertionError: a server may not write such a frame, or ours never does.
    """
    if len(buffer) < 2:
        return None
    length, start = buffer[1], 2
    assert length < 128, "a server's frame is masked"
    assert buffer[0] >> 4 == 0b1000, f"not a whole message without reserved bits: {buffer[:2]!r}"
    if length >= 126:
        start = 4 if length == 126 else 10
        if len(buffer) < start:
            return None
        length = int.from_bytes(buffer[2:start], "big")
        assert length > (125 if start == 4 else 65535), "not the shortest form of the length"
    if len(buffer) < start + length:
        return None
    taken = Frame(buffer[0] & 15, bytes(buffer[start : start + length]))
    del buffer[: start + length]
    assert taken.opcode in {TEXT, BINARY, CLOSE, PING, PONG}
    assert taken.opcode < 8 or length <= 125
    return taken
