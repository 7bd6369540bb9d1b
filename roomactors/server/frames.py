"""RFC 6455 frames in and out, for the server's side.

What lives here: the frames that a server sends, ready for the socket, and the
parser that makes messages and control frames out of a client's bytes, strict
in every rule. What must not: a socket, a task, a clock, or any opinion on how
to answer; the connection decides that. No extension is spoken, so every
reserved bit is an error.

Complete, unfragmented messages of up to 65,535 bytes are taken out of the
buffer in one step by `FrameParser.next`. All else (control frames, fragments,
frames of which a part has arrived) goes through `FrameParser._advance`, which
can do the fast step's work too; feeding single bytes shows that both agree.
"""

from __future__ import annotations

import codecs
import sys
from typing import Final, final

import attrs

_CONTINUATION: Final = 0x0
_TEXT: Final = 0x1
_BINARY: Final = 0x2
_CLOSE: Final = 0x8
_PING: Final = 0x9
_PONG: Final = 0xA
_OPCODES: Final = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG})

_FIN: Final = 0x80
_RESERVED_BITS: Final = 0x70
_CONTROL: Final = 0x08  # the opcode's bit that all control frames have
_MASKED: Final = 0x80
_LENGTH_16: Final = 126  # the short length that says "two bytes of length follow"
_LENGTH_64: Final = 127  # the same for eight bytes
_CONTROL_BYTES: Final = 125  # most payload bytes of a control frame (RFC 6455, 5.5)
_REASON_BYTES: Final = _CONTROL_BYTES - 2  # what the close code leaves of them
_SMALLEST_FRAME: Final = 6  # bytes: an empty one of a client
_WHOLE_BINARY: Final = _FIN | _BINARY
_WHOLE: Final = frozenset({_FIN | _TEXT, _WHOLE_BINARY})
_NOT_UTF8: Final = "a text message is not UTF-8"

# Codes that may stand in a close frame: RFC 6455, 7.4, and what the registry has
# since been given (1012 to 1014). 1004 to 1006 and 1015 may never be sent.
_CLOSE_CODES: Final = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})


# Not frozen, though nobody changes one: attrs makes a frozen value in twice the
# time (161 ns against 77), and one is made for every message.


@attrs.define
class Text:
    """A complete text message; `payload` has been checked to be UTF-8."""

    payload: bytes


@attrs.define
class Binary:
    """A complete binary message."""

    payload: bytes


@attrs.define
class Ping:
    """A ping; the answer is a pong with the same payload (at most 125 bytes)."""

    payload: bytes


@attrs.define
class Pong:
    """A pong, asked for or not (at most 125 bytes)."""

    payload: bytes


@attrs.define
class Close:
    """The client's close frame, its last one; `code` is None if it gave none."""

    code: int | None
    reason: str


Frame = Text | Binary | Ping | Pong | Close


class ProtocolViolation(Exception):
    """The client broke a rule or a limit, and the connection must close.

    `code` is the close code to answer with (1002, 1007, 1008 or 1009), `reason`
    one short sentence that may be shown to the client.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


def text_frame(payload: bytes) -> bytes:
    """Make a whole text message of `payload`, which must be UTF-8."""
    return _header(_TEXT, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """Make a whole binary message of `payload`."""
    return _header(_BINARY, len(payload)) + payload


def ping_frame(payload: bytes) -> bytes:
    """Make a ping.

    Raises:
      ValueError: `payload` has more than 125 bytes.
    """
    return _control_frame(_PING, payload)


def pong_frame(payload: bytes) -> bytes:
    """Make a pong.

    Raises:
      ValueError: `payload` has more than 125 bytes.
    """
    return _control_frame(_PONG, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """Make a close frame.

    Args:
      code: 1000 to 1003, 1007 to 1014 or 3000 to 4999.
      reason: for a person; cut to 123 bytes of UTF-8 between two characters.
        What UTF-8 cannot carry (a lone surrogate) becomes a question mark, so
        that closing never fails for the text of an error.

    Raises:
      ValueError: no endpoint may send this code.
    """
    if code not in _CLOSE_CODES:
        raise ValueError(f"close code {code} may not be sent")
    text = reason.encode("utf-8", "replace")
    if len(text) > _REASON_BYTES:
        text = text[:_REASON_BYTES].decode("utf-8", "ignore").encode()
    return _control_frame(_CLOSE, code.to_bytes(2, "big") + text)


def _header(opcode: int, length: int) -> bytes:
    if length < _LENGTH_16:
        return bytes((_FIN | opcode, length))
    if length < 1 << 16:
        return bytes((_FIN | opcode, _LENGTH_16)) + length.to_bytes(2, "big")
    return bytes((_FIN | opcode, _LENGTH_64)) + length.to_bytes(8, "big")


def _control_frame(opcode: int, payload: bytes) -> bytes:
    if len(payload) > _CONTROL_BYTES:
        raise ValueError(f"a control frame carries at most {_CONTROL_BYTES} bytes")
    return _header(opcode, len(payload)) + payload


# Up to here one big integer unmasks, above it four strided translations do. Measured in µs:
# 0.25 and 0.68 at 20 bytes, 0.45 and 0.81 at 150, 0.98 and 1.09 at 512, even at 1 KiB,
# 85 and 54 at 64 KiB. Not 1 KiB, because `_REPEAT` grows with the square (40 KiB now).
_SHORT: Final = 512  # bytes

# _REPEAT[n] * mask is the 32-bit mask n times over, a multiplication of C speed.
_REPEAT: Final = [sum(1 << 32 * word for word in range(n)) for n in range((_SHORT + 11) // 4)]
_XOR_WITH: Final = [bytes(byte ^ key for byte in range(256)) for key in range(256)]
_from_bytes: Final = int.from_bytes


def _unmask_short(masked: bytes) -> bytes:
    """Unmask what follows the mask, the first four bytes, as one integer."""
    length = len(masked)
    words = (length + 3) >> 2
    number = _from_bytes(masked, "little")
    number ^= (number & 0xFFFFFFFF) * _REPEAT[words]
    return number.to_bytes(words << 2, "little")[4:length]


def _unmask_long(masked: bytes) -> bytes:
    """Do the same with a table for each of the mask's four bytes."""
    key0, key1, key2, key3 = masked[:4]
    payload = bytearray(masked[4:])
    payload[0::4] = payload[0::4].translate(_XOR_WITH[key0])
    payload[1::4] = payload[1::4].translate(_XOR_WITH[key1])
    payload[2::4] = payload[2::4].translate(_XOR_WITH[key2])
    payload[3::4] = payload[3::4].translate(_XOR_WITH[key3])
    return bytes(payload)


def _unmask(masked: bytes) -> bytes:
    return _unmask_short(masked) if len(masked) - 4 <= _SHORT else _unmask_long(masked)


@final
@attrs.define(eq=False)
class _Message:
    """A message that has begun and is not complete; it may have many fragments.

    Only this one buffer grows: a fragment is counted, never kept as an object,
    so a million empty ones cost nothing.
    """

    opcode: int
    payload: bytearray = attrs.Factory(bytearray)
    decoder: codecs.IncrementalDecoder | None = None
    fragments: int = 0
    left: int = 0  # payload bytes of the current frame that have not arrived
    mask: bytes = b""  # turned so that its first byte is for the next payload byte
    final: bool = False  # the current frame is the last one

    def __attrs_post_init__(self) -> None:
        if self.opcode == _TEXT:
            self.decoder = codecs.getincrementaldecoder("utf-8")()

    def begin(self, length: int, mask: bytes, final: bool) -> None:
        """Go on with the payload of this message's next frame."""
        self.fragments += 1
        self.left, self.mask, self.final = length, mask, final

    def add(self, masked: bytes) -> bool:
        """Take the next bytes of the current frame.

        Returns:
          False if no text begins like this, or if it ends within a character.
        """
        piece = _unmask(self.mask + masked)
        turn = len(piece) & 3
        self.mask = self.mask[turn:] + self.mask[:turn]
        self.left -= len(piece)
        self.payload += piece
        if self.decoder is None:
            return True
        try:
            self.decoder.decode(piece, self.final and not self.left)
        except UnicodeDecodeError:
            return False
        # Python's decoder waits for the third byte of a surrogate (`surrogatepass` has to
        # see it); the second has shown already that this is no UTF-8.
        held = self.decoder.getstate()[0]
        return not (held[:1] == b"\xed" and held[1:] >= b"\xa0")


@final
class FrameParser:
    """Turns the bytes of one client into messages and control frames.

    Args:
      max_message_bytes: most payload bytes of a message, all its fragments
        together; checked when a frame's header has arrived. 0 means no limit.
      max_fragments: most frames of one message. 0 means no limit.

    Memory: what has been fed and not returned, at most an eighth more while a message
    is incomplete, and one copy of it at its end. An idle parser holds no buffer.
    """

    __slots__ = (
        "_buffer",
        "_ended",
        "_max_fragments",
        "_max_message_bytes",
        "_message",
        "_more",
        "_start",
    )

    def __init__(self, *, max_message_bytes: int, max_fragments: int = 70_000) -> None:
        self._max_message_bytes = max_message_bytes or sys.maxsize
        self._max_fragments = max_fragments or sys.maxsize
        # Bytes are read from `_buffer` at `_start` and never moved for a message; what
        # arrives meanwhile waits in `_more` until the buffer does not suffice.
        self._buffer = b""
        self._start = 0
        self._more: list[bytes] | None = None
        self._message: _Message | None = None
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Take bytes from the client; never raises.

        After a close frame or a violation they are dropped.
        """
        if self._start == len(self._buffer) and self._more is None:
            if not self._ended:
                self._buffer = data
                self._start = 0
        elif self._more is None:
            self._more = [data]
        else:
            self._more.append(data)

    def next(self) -> Frame | None:
        """Return the next message or control frame, in the order of arrival.

        Returns None when more bytes are needed, and always after a close frame or
        a violation.

        Raises:
          ProtocolViolation: with the close code to answer; raised once.
        """
        buffer = self._buffer
        start = self._start
        size = len(buffer)
        if self._message is None and size - start >= _SMALLEST_FRAME:
            first = buffer[start]
            if first in _WHOLE:
                # What this step does not take gets a length below zero: an unmasked frame,
                # a length that is not in its shortest form, or one of 64 bits.
                length = buffer[start + 1] - _MASKED
                start += 2
                if length >= _LENGTH_16:
                    if length == _LENGTH_16:
                        length = buffer[start] << 8 | buffer[start + 1]
                        start += 2
                        if length < _LENGTH_16:
                            length = -1
                    else:
                        length = -1
                end = start + 4 + length
                if end <= size and 0 <= length <= self._max_message_bytes:
                    self._start = end
                    if length <= _SHORT:
                        # `_unmask_short`, written out: the call would be a tenth of it all.
                        number = _from_bytes(buffer[start:end], "little")
                        words = (length + 7) >> 2
                        number ^= (number & 0xFFFFFFFF) * _REPEAT[words]
                        payload = number.to_bytes(words << 2, "little")[4 : 4 + length]
                    else:
                        payload = _unmask_long(buffer[start:end])
                    if first == _WHOLE_BINARY:
                        return Binary(payload)
                    if not payload.isascii():
                        try:
                            payload.decode()
                        except UnicodeDecodeError:
                            raise self._violation(1007, _NOT_UTF8) from None
                    return Text(payload)

        frame = self._advance()
        if frame is None:
            if self._more is not None:
                self._buffer = b"".join((self._buffer[self._start :], *self._more))
                self._start = 0
                self._more = None
                frame = self._advance()
            if frame is None and self._start:
                # What is left is less than a header or a control frame: at most 130 bytes.
                self._buffer = self._buffer[self._start :]
                self._start = 0
        return frame

    @property
    def in_message(self) -> bool:
        """Whether a frame or a fragmented message has begun and is not complete.

        True also while whole frames wait for `next`: ask when it has returned None.
        """
        return self._message is not None or self._start < len(self._buffer) or bool(self._more)

    @property
    def buffered(self) -> int:
        """How many bytes are held: not yet looked at, or of an incomplete message."""
        held = len(self._buffer) - self._start
        if self._more is not None:
            held += sum(map(len, self._more))
        if self._message is not None:
            held += len(self._message.payload)
        return held

    def _advance(self) -> Frame | None:
        """Go through the buffer, frame by frame, until one completes something."""
        while True:
            message = self._message
            if message is None or not message.left:
                header = self._read_header(message)
                if header is None:
                    return None
                opcode, last, length, start = header
                mask = self._buffer[start - 4 : start]
                if opcode & _CONTROL:
                    end = start + length
                    if end > len(self._buffer):
                        return None
                    self._start = end
                    return self._control(opcode, _unmask(self._buffer[start - 4 : end]))
                if message is None:
                    message = self._message = _Message(opcode)
                message.begin(length, mask, last)
                self._start = start
            piece = self._buffer[self._start : self._start + message.left]
            self._start += len(piece)
            if not message.add(piece):
                raise self._violation(1007, _NOT_UTF8)
            if message.left:
                return None
            if message.final:
                self._message = None
                payload = bytes(message.payload)
                return Text(payload) if message.opcode == _TEXT else Binary(payload)

    def _read_header(self, message: _Message | None) -> tuple[int, bool, int, int] | None:
        """Read and check the header at `_start`, as far as it has arrived.

        The rules are checked in the order of the bytes they are about, so that the
        first broken one decides, however the bytes are cut.

        Returns:
          The opcode, whether the frame is its message's last, its payload's length,
          and where in the buffer the payload begins; None if the header is incomplete.
        """
        buffer, start = self._buffer, self._start
        available = len(buffer) - start
        if available < 2:
            return None
        first, second = buffer[start], buffer[start + 1]
        opcode = first & 0x0F
        last = first >= _FIN
        length = second & 0x7F
        if first & _RESERVED_BITS:
            raise self._violation(1002, "a reserved bit is set")
        if opcode not in _OPCODES:
            raise self._violation(1002, f"opcode {opcode} is reserved")
        if opcode & _CONTROL:
            if not last:
                raise self._violation(1002, "a control frame may not be fragmented")
            if length > _CONTROL_BYTES:
                raise self._violation(1002, "a control frame carries at most 125 bytes")
        elif message is None:
            if opcode == _CONTINUATION:
                raise self._violation(1002, "there is no message to continue")
        elif opcode != _CONTINUATION:
            raise self._violation(1002, "the message before is not complete")
        elif message.fragments >= self._max_fragments:
            raise self._violation(1008, f"more than {self._max_fragments} fragments in a message")
        if not second & _MASKED:
            raise self._violation(1002, "a client's frames must be masked")

        end = start + 2
        if length >= _LENGTH_16:
            width = 2 if length == _LENGTH_16 else 8
            if available < 2 + width:
                return None
            end += width
            length = _from_bytes(buffer[start + 2 : end], "big")
            if length >= 1 << 63:
                raise self._violation(1002, "a length has its highest bit set")
            if length < (_LENGTH_16 if width == 2 else 1 << 16):
                raise self._violation(1002, "a length is not in its shortest form")
        if not opcode & _CONTROL:
            held = 0 if message is None else len(message.payload)
            if held + length > self._max_message_bytes:
                raise self._violation(
                    1009, f"a message may have at most {self._max_message_bytes} bytes"
                )
        end += 4
        return (opcode, last, length, end) if end <= len(buffer) else None

    def _control(self, opcode: int, payload: bytes) -> Frame:
        if opcode == _PING:
            return Ping(payload)
        if opcode == _PONG:
            return Pong(payload)
        if not payload:
            self._end()
            return Close(None, "")
        if len(payload) == 1:
            raise self._violation(1002, "a close code has two bytes")
        code = _from_bytes(payload[:2], "big")
        if code not in _CLOSE_CODES:
            raise self._violation(1002, f"close code {code} may not be sent")
        try:
            reason = payload[2:].decode()
        except UnicodeDecodeError:
            raise self._violation(1007, "a close reason is not UTF-8") from None
        self._end()
        return Close(code, reason)

    def _violation(self, code: int, reason: str) -> ProtocolViolation:
        self._end()
        return ProtocolViolation(code, reason)

    def _end(self) -> None:
        """Let go of everything; nothing more is read of this client."""
        self._buffer, self._start = b"", 0
        self._more = self._message = None
        self._ended = True
