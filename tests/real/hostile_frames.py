"""Attacks with frames: broken ones, floods of them, resets among them, crossings with a close."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from tests.real import frames
from tests.real.attacks import MESSAGE_BYTES, Attack
from tests.real.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from tests.real.peer import KEY, NO_CLOSE_FRAME, Peer, say, upgrade
from tests.real.processes import Observed

MEBIBYTE: Final = 1024 * 1024


def _closed(code: int, data: bytes, server: Observed) -> None:
    """Send bytes, at once and then one by one, and read this close code from the wire."""
    with server.peer() as peer:
        peer.send_to_the_end(data)
        assert peer.close_code() == code
    if len(data) < 200:
        with server.peer() as peer:
            for byte in data:
                peer.send_to_the_end(bytes((byte,)))
            assert peer.close_code() == code


def _reset_everywhere(server: Observed) -> None:
    """Reset after each few bytes of a conversation, from the head to behind the close frame."""
    talk = b"".join(
        (
            upgrade(),
            say("join", room="resets", ref=1),
            say("broadcast", room="resets", data="x" * 100, ref=2),
            frame(PING, b"ping"),
            *(say("leave", room="resets", ref=3), frames.close(1000)),
        )
    )
    for end in [*range(len(upgrade()), len(talk), 11), len(talk)]:
        Peer(server.address).reset_after(talk[:end])
    server.wait_for_rest("open files", "sockets", "members")


def _reset_after_upgrade(server: Observed) -> None:
    """K7: the handshake is done, and the peer is gone at that moment."""
    for _ in range(20):
        with Peer(server.address) as peer:
            peer.send(upgrade())
            peer.response()
            peer.reset()


def _reset_in_mid_frame(server: Observed) -> None:
    """Gone with half a message sent, and then with half a message not read."""
    server.peer().reset_after(frame(TEXT, b"x" * 1000)[:500])
    with server.peer() as peer:
        peer.join("unread")
        peer.send(say("broadcast", room="unread", data="y" * 60_000) * 20)
        peer.reset()


def _reset_after_close_frame(server: Observed) -> None:
    """Gone without waiting for the answer, in both orders."""
    server.peer().reset_after(frames.close(1000))
    with server.peer() as peer:
        peer.send(frame(BINARY, b"not spoken here"))
        closing = peer.next_frame()
        assert closing is not None
        assert closing.opcode == CLOSE
        peer.reset()


def _ping_crosses_close(server: Observed) -> None:
    """K5: pings on their way when the server closes, in the same segment and after its frame."""
    for after in (frame(PING, b"crossing"), frame(PING) * 50, frame(PONG) + frame(PING)):
        with server.peer() as peer:
            peer.send(frame(BINARY, b"x") + after)
            assert peer.close_code() == 1003
        with server.peer() as peer:
            peer.send(frame(BINARY, b"x"))
            closing = peer.next_frame()
            assert closing is not None
            assert closing.close_code == 1003
            peer.send(after)
            peer.send(frames.close(1003))
            assert peer.everything() == b""


def _close_behind_a_message(server: Observed) -> None:
    """What came before the close frame is heard by the others; what is behind it is not read."""
    with server.peer() as peer, server.peer() as other:
        peer.join("closing")
        other.join("closing")
        last = say("broadcast", room="closing", data="last")
        never = say("broadcast", room="closing", data="never")
        peer.send(last + frames.close(1001) + never + b"\xff" * 100)
        assert peer.close_code() == 1001
        assert other.hear("message")["data"] == "last"
        other.say("ping", ref="the end")
        assert other.hear("message", "pong")["type"] == "pong"


def _flood_after_the_close(server: Observed) -> None:
    """Megabytes behind an error are thrown away, and at some point cut off."""
    with server.peer() as peer:
        peer.send(frame(BINARY, b"x"))
        closing = peer.next_frame()
        assert closing is not None
        assert closing.close_code == 1003
        # A mebibyte, and what the kernels of both ends hold.
        peer.fill(b"\x00" * 65536, most=32 * MEBIBYTE)


def _ping_flood(server: Observed) -> None:
    """A megabyte of pings by one that reads none of the pongs costs next to nothing."""
    memory = server.process.memory
    with server.peer(receive_buffer=4096) as peer:
        peer.fill(frame(PING, b"p" * 125) * 500, most=1024 * MEBIBYTE)
        assert server.process.memory - memory < 16 * MEBIBYTE


def _empty_fragments(server: Observed) -> None:
    """70,001 fragments of nothing: one too many, and none of them kept."""
    memory = server.process.memory
    with server.peer() as peer:
        peer.send(frame(TEXT, b"", fin=False))
        empty = frame(CONTINUATION, fin=False)
        for _ in range(100):
            peer.send(empty * 699)
        peer.send(empty * 99)
        peer.send(frame(PING, b"still here"))
        taken = peer.next_frame()
        assert taken == frames.Frame(PONG, b"still here")
        peer.send(empty)
        closing = peer.next_message()
        assert (closing.opcode, closing.close_code) == (CLOSE, 1008)
        assert b"70000 fragments" in closing.payload
    assert server.process.memory - memory < 8 * MEBIBYTE


def _emoji_at_the_limit(server: Observed) -> None:
    """The limit counts bytes: as many emoji as fit, byte by byte and cut within characters."""
    emoji = "\N{GRINNING FACE}".encode()
    room = b'{"type":"broadcast","room":"emoji","data":"'
    text = room + emoji * ((MESSAGE_BYTES - len(room) - 2) // 4) + b'"}'
    text += b" " * (MESSAGE_BYTES - len(text))
    with server.peer() as peer:
        peer.join("emoji")
        cut = [text[at : at + 3] for at in range(0, len(text), 3)]
        peer.send(frames.fragments(*cut))
        assert peer.hear("message")["data"].endswith("\N{GRINNING FACE}")
        peer.send_to_the_end(frames.fragments(*cut, b" "))
        assert peer.close_code() == 1009


def _one_byte_over(server: Observed) -> None:
    """Exactly the limit passes; one byte more is 1009 when its header is there."""
    begins = b'{"type":"ping","ref":1,"x":"'
    fits = begins + b"x" * (MESSAGE_BYTES - len(begins) - 2) + b'"}'
    with server.peer() as peer:
        peer.send(frame(TEXT, fits))
        assert peer.hear("pong")["ref"] == 1
        peer.send(frame(TEXT, length=MESSAGE_BYTES + 1))
        assert peer.close_code() == 1009


def _a_message_that_never_ends(server: Observed) -> None:
    """Whoever begins a message must end it in time, even if it answers pings."""
    with server.peer() as peer:
        peer.join("slow")
        peer.send(frame(TEXT, b'{"type":"broad', fin=False))
        closing = peer.next_message()
        assert (closing.opcode, closing.close_code) == (CLOSE, 1008)
        assert b"too long to arrive" in closing.payload


_LARGE: Final = frame(TEXT, b"x" * (MESSAGE_BYTES + 1))

_BROKEN: Final[dict[str, tuple[int, bytes]]] = {
    "a frame without a mask": (1002, frame(TEXT, b"{}", masked=False)),
    "a ping without a mask": (1002, frame(PING, b"", masked=False)),
    "a close frame without a mask": (1002, frame(CLOSE, b"\x03\xe8", masked=False)),
    "RSV1, as of compression never agreed": (1002, frame(TEXT, b"{}", rsv=4)),
    "RSV2 and RSV3": (1002, frame(TEXT, b"{}", rsv=3)),
    "a reserved opcode": (1002, frame(3, b"x")),
    "a reserved control opcode": (1002, frame(11, b"x")),
    "a ping of 126 bytes": (1002, frame(PING, b"p" * 126)),
    "a ping in fragments": (1002, frame(PING, b"p", fin=False)),
    "a continuation of nothing": (1002, frame(CONTINUATION, b"x")),
    "a message within a message": (1002, frame(TEXT, b"a", fin=False) + frame(TEXT, b"b")),
    "a length that is not the shortest": (1002, frame(TEXT, b"x" * 125, width=2)),
    "a length of 64 bits with the highest set": (1002, frame(TEXT, width=8, length=1 << 63)),
    "the largest length there is": (1009, frame(TEXT, length=(1 << 63) - 1)),
    "a message over the limit": (1009, _LARGE),
    "K6: a message over the limit and a ping in one segment": (1009, _LARGE + frame(PING, b"k6")),
    "K6: a ping, a header over the limit, a ping": (
        1009,
        frame(PONG) + frame(TEXT, length=MESSAGE_BYTES + 1) + frame(PING, b"k6"),
    ),
    "a binary frame where text is spoken": (1003, frame(BINARY, b"\x00\x01")),
    "text that is not UTF-8": (1007, frame(TEXT, b'{"type":"\xff"}')),
    "text that ends within a character": (1007, frame(TEXT, '"é"'.encode()[:2])),
    "a byte that is not UTF-8 in a frame that never ends": (
        1007,
        frame(TEXT, b"ab\xc0", length=1000),
    ),
    "a surrogate in UTF-8": (1007, frame(TEXT, b'"\xed\xa0\x80"')),
    "a close frame of one byte": (1002, frame(CLOSE, b"\x03")),
    "a close code that may not be sent": (1002, frames.close(1006)),
    "a close reason that is not UTF-8": (1007, frames.close(1000, b"\xff")),
    "a TLS greeting behind the handshake": (1002, b"\x16\x03\x01\x02\x00"),
    "a second handshake": (
        1002,
        b"GET /ws HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: " + KEY.encode(),
    ),
}


def _bind(attack: Callable[..., None], *arguments: object) -> Attack:
    return partial(attack, *arguments)


ATTACKS: Final[dict[str, Attack]] = {
    **{name: _bind(_closed, code, data) for name, (code, data) in _BROKEN.items()},
    "K5: pings that cross the server's close": _ping_crosses_close,
    "K7: RST right after the handshake": _reset_after_upgrade,
    "RST in the middle of a frame": _reset_in_mid_frame,
    "RST after a close frame": _reset_after_close_frame,
    "RST after every few bytes of a conversation": _reset_everywhere,
    "a close frame behind a message": _close_behind_a_message,
    "a flood behind the close": _flood_after_the_close,
    "a flood of pings": _ping_flood,
    "fragments of emoji at the limit": _emoji_at_the_limit,
    "one byte over the limit": _one_byte_over,
    "a message that never ends": _a_message_that_never_ends,
}
LONG_ATTACKS: Final[dict[str, Attack]] = {"70,001 empty fragments": _empty_fragments}
"""These take a while on a busy machine, and so want a server that is patient."""

assert NO_CLOSE_FRAME not in {code for code, _ in _BROKEN.values()}
