"""The bytes of the load: handshake, frames, and messages that can be told apart and checked.

Pure functions on bytes, of the client's side of RFC 6455. No sockets here.
"""

import base64
import functools
import hashlib
import json
import zlib
from typing import Final

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

# One key and one mask for everybody: drawing them is the load's cost and tells nothing of a server.
KEY: Final = base64.b64encode(b"roomactors-bench").decode()
ACCEPT: Final = base64.b64encode(
    hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
)
MASK: Final = b"\x37\xfa\x21\x3d"

# "0003 0000000042 89abcdef ": sender, number of the sender's message, CRC-32 of the filler.
HEADER_BYTES: Final = 25
SMALLEST_MESSAGE: Final = 126  # bytes; below it a frame has a shorter head, and sizes would differ
LARGEST_MESSAGE: Final = 65_535  # bytes; above it a longer one
LARGEST_FRAME: Final = 1024 * 1024  # bytes of payload; else a wrong length would wait for ever
_ALPHABET: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_" * 1040


class DamagedError(Exception):
    """Bytes that no sender here has sent."""


def upgrade_request(path: str, port: int) -> bytes:
    """Return the head of a WebSocket handshake."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def message(sender: int, number: int, size: int) -> bytes:
    """Return a text message of `size` bytes that names its sender and its place.

    Args:
      sender: who sends it, 0 to 9,999.
      number: the how-manieth of that sender, from 0.
      size: bytes, from `SMALLEST_MESSAGE` to `LARGEST_MESSAGE`.
    """
    start = number & 63  # neighbours differ in every byte, so that a mix of two is noticed
    filler = _ALPHABET[start : start + size - HEADER_BYTES]
    return b"%04d %010d %08x %b" % (sender, number, zlib.crc32(filler), filler)


def read_message(payload: bytes) -> tuple[int, int]:
    """Return sender and number of a message.

    Raises:
      DamagedError: it is not, byte for byte, what that sender has sent under that number.
    """
    try:
        sender, number = int(payload[:4]), int(payload[5:15])
    except ValueError:
        raise DamagedError(f"no sender and number in {payload[:32]!r}") from None
    if len(payload) < SMALLEST_MESSAGE or payload != message(sender, number, len(payload)):
        raise DamagedError(f"message {number} of sender {sender} has other bytes: {payload[:40]!r}")
    return sender, number


def server_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return one whole unmasked frame."""
    return _head(len(payload), opcode, 0) + payload


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return one whole masked frame."""
    size = len(payload)
    masked = int.from_bytes(payload, "little") ^ _mask(size)
    return _head(size, opcode, 0x80) + MASK + masked.to_bytes(size, "little")


@functools.lru_cache(maxsize=256)
def _mask(size: int) -> int:
    return int.from_bytes((MASK * (size // 4 + 1))[:size], "little")


def _head(size: int, opcode: int, masked: int) -> bytes:
    if size < 126:
        return bytes((0x80 | opcode, masked | size))
    if size < 65_536:
        return bytes((0x80 | opcode, masked | 126)) + size.to_bytes(2, "big")
    return bytes((0x80 | opcode, masked | 127)) + size.to_bytes(8, "big")


def take_frame(data: bytes, start: int) -> tuple[int, bytes, int] | None:
    """Return opcode, payload and end of the unmasked frame at `start`, or None if it is not whole.

    Raises:
      DamagedError: a head that no server may send here (masked, fragmented, reserved bits, or a
        size that nothing here has).
    """
    here = len(data) - start
    if here < 2:
        return None
    first, second = data[start], data[start + 1]
    if first not in (0x80 | TEXT, 0x80 | CLOSE, 0x80 | PING, 0x80 | PONG) or second > 127:
        raise DamagedError(f"no frame begins with {data[start : start + 4].hex(' ')}")
    size, head = second, 2
    if second >= 126:
        head = 4 if second == 126 else 10
        if here < head:
            return None
        size = int.from_bytes(data[start + 2 : start + head], "big")
        if size > LARGEST_FRAME:
            raise DamagedError(f"a frame of {size} bytes")
    if here < head + size:
        return None
    return first & 0x0F, data[start + head : start + head + size], start + head + size


def json_broadcast(room: str, payload: bytes) -> bytes:
    """Return the plain JSON protocol's `broadcast` of a message."""
    text = payload.decode("ascii")
    return json.dumps({"type": "broadcast", "room": room, "data": text}).encode()


def json_join(room: str) -> bytes:
    """Return the plain JSON protocol's `join`."""
    return json.dumps({"type": "join", "room": room, "ref": 1}).encode()
