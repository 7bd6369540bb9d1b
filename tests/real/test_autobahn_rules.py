"""The rules of RFC 6455 at a running server that echoes through `/raw`, by Autobahn's numbers.

What the parser makes of frames is tested in `tests/server/test_frames.py`;
here it is what a client reads from the wire, its close code included.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.real.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close,
    fragments,
    frame,
)
from tests.real.peer import Peer, upgrade
from tests.real.processes import Served

KOSME = "κ\u1f79σμε".encode()
GREETING = "Hello-µ@ßöäüàá-UTF-8!!".encode()
HELLO = b"Hello, world!"
GOES_ON = None
"""In place of a close code: nothing is wrong, and the connection is still good for a message."""
END = close(1000)


def echo(payload: bytes, opcode: int = TEXT) -> Frame:
    return Frame(opcode, payload)


Case = tuple[str, bytes | tuple[bytes, bytes], list[Frame], int | None]
"""Name; what is sent, or what is sent before and after the answer; the answer; the close code."""

CASES: list[Case] = [
    # 1: every form of the length
    *(
        (f"1.1 text of {size}", frame(TEXT, b"*" * size), [echo(b"*" * size)], GOES_ON)
        for size in (0, 125, 126, 127, 128, 65535, 65536)
    ),
    *(
        (
            f"1.2 binary of {size}",
            frame(BINARY, b"\xfe" * size),
            [echo(b"\xfe" * size, BINARY)],
            GOES_ON,
        )
        for size in (0, 125, 126, 127, 128, 65535, 65536)
    ),
    # 2: pings and pongs
    ("2.1", frame(PING), [Frame(PONG, b"")], GOES_ON),
    ("2.2", frame(PING, b"Hello"), [Frame(PONG, b"Hello")], GOES_ON),
    ("2.3", frame(PING, b"\x00\xff\xfe"), [Frame(PONG, b"\x00\xff\xfe")], GOES_ON),
    ("2.4", frame(PING, b"\xfe" * 125), [Frame(PONG, b"\xfe" * 125)], GOES_ON),
    ("2.5", frame(PING, b"\xfe" * 126), [], 1002),
    ("2.7", frame(PONG), [], GOES_ON),
    ("2.8", frame(PONG, b"unsolicited"), [], GOES_ON),
    (
        "2.9",
        frame(PONG, b"unsolicited") + frame(PING, b"asked"),
        [Frame(PONG, b"asked")],
        GOES_ON,
    ),
    (
        "2.10",
        b"".join(frame(PING, b"payload-%d" % number) for number in range(10)),
        [Frame(PONG, b"payload-%d" % number) for number in range(10)],
        GOES_ON,
    ),
    # 3: reserved bits
    ("3.1", frame(TEXT, HELLO, rsv=1), [], 1002),
    ("3.2", (frame(TEXT, HELLO), frame(TEXT, HELLO, rsv=2) + frame(PING)), [echo(HELLO)], 1002),
    ("3.5", frame(BINARY, b"\x00\xff", rsv=5), [], 1002),
    ("3.6", frame(PING, HELLO, rsv=6), [], 1002),
    ("3.7", frame(CLOSE, b"\x03\xe8", rsv=7), [], 1002),
    # 4: reserved opcodes
    *((f"4.1 opcode {opcode}", frame(opcode, b"x"), [], 1002) for opcode in (3, 4, 5, 6, 7)),
    *((f"4.2 opcode {opcode}", frame(opcode, b"x"), [], 1002) for opcode in (11, 12, 15)),
    (
        "4.1.3",
        (frame(TEXT, HELLO), frame(5, b"reserved") + frame(PING)),
        [echo(HELLO)],
        1002,
    ),
    # 5: fragments
    ("5.1", frame(PING, b"part", fin=False), [], 1002),
    ("5.2", frame(PONG, b"part", fin=False), [], 1002),
    ("5.3", fragments(b"one ", b"two"), [echo(b"one two")], GOES_ON),
    (
        "5.6",
        fragments(b"one ", b"two", between=frame(PING, b"ping")),
        [Frame(PONG, b"ping"), echo(b"one two")],
        GOES_ON,
    ),
    ("5.9", frame(CONTINUATION, b"of nothing") + frame(TEXT, HELLO), [], 1002),
    ("5.12", frame(CONTINUATION, b"of nothing", fin=False) + frame(TEXT, HELLO), [], 1002),
    (
        "5.15",
        (
            fragments(b"one ", b"two"),
            frame(CONTINUATION, b"three", fin=False) + frame(TEXT, b"4"),
        ),
        [echo(b"one two")],
        1002,
    ),
    ("5.18", frame(TEXT, b"one", fin=False) + frame(TEXT, b"two"), [], 1002),
    (
        "5.19",
        frame(TEXT, b"1", fin=False)
        + frame(CONTINUATION, b"2", fin=False)
        + frame(PING, b"pongme 1!")
        + frame(CONTINUATION, b"3", fin=False)
        + frame(PING, b"pongme 2!")
        + frame(CONTINUATION, b"4"),
        [Frame(PONG, b"pongme 1!"), Frame(PONG, b"pongme 2!"), echo(b"1234")],
        GOES_ON,
    ),
    # 6: UTF-8
    ("6.1.1", frame(TEXT), [echo(b"")], GOES_ON),
    ("6.1.3", fragments(b"", b"middle", b""), [echo(b"middle")], GOES_ON),
    ("6.2.1", frame(TEXT, GREETING), [echo(GREETING)], GOES_ON),
    ("6.2.3", fragments(*(bytes((byte,)) for byte in KOSME)), [echo(KOSME)], GOES_ON),
    ("6.3.1", frame(TEXT, KOSME + b"\xed\xa0\x80edited"), [], 1007),
    (
        "6.3.2",
        fragments(*(bytes((byte,)) for byte in KOSME + b"\xed\xa0\x80edited")),
        [],
        1007,
    ),
    (
        "6.4.1",
        frame(TEXT, KOSME, fin=False) + frame(CONTINUATION, b"\xf4\x90\x80\x80", fin=False),
        [],
        1007,
    ),
    ("6.4.3", frame(TEXT, KOSME + b"\xf4\x90", length=21), [], 1007),
    ("6.6.1", frame(TEXT, KOSME[:1]), [], 1007),
    ("6.6.2", frame(TEXT, KOSME[:2]), [echo(KOSME[:2])], GOES_ON),
    ("6.7.4", frame(TEXT, b"\xf0\x90\x80\x80"), [echo(b"\xf0\x90\x80\x80")], GOES_ON),
    ("6.8.1", frame(TEXT, b"\xf8\x88\x80\x80\x80"), [], 1007),
    ("6.12.1", frame(TEXT, b"\x80"), [], 1007),
    ("6.14.1", frame(TEXT, b"\xc0"), [], 1007),
    ("6.16.1", frame(TEXT, b"\xfe"), [], 1007),
    ("6.17.1", frame(TEXT, b"\xc0\xaf"), [], 1007),
    ("6.20.1", frame(TEXT, b"\xed\xa0\x80"), [], 1007),
    ("6.21.1", frame(TEXT, b"\xed\xa0\x80\xed\xb0\x80"), [], 1007),
    ("6.22.1", frame(TEXT, b"\xef\xbf\xbe"), [echo(b"\xef\xbf\xbe")], GOES_ON),
    # 7: closing
    ("7.1.2", END + END, [], 1000),
    ("7.1.3", END + frame(PING), [], 1000),
    ("7.1.4", END + frame(TEXT, HELLO), [], 1000),
    ("7.1.5", frame(TEXT, HELLO, fin=False) + END + frame(CONTINUATION, HELLO), [], 1000),
    ("7.3.1", frame(CLOSE), [], 1000),
    ("7.3.2", frame(CLOSE, b"a"), [], 1002),
    ("7.3.4", close(1000, b"Hello World!"), [], 1000),
    ("7.3.5", close(1000, b"*" * 123), [], 1000),
    ("7.3.6", close(1000, b"*" * 124), [], 1002),
    ("7.5.1", close(1000, KOSME + b"\xed\xa0\x80"), [], 1007),
    *((f"7.7 code {code}", close(code), [], code) for code in (1001, 1003, 1011, 3000, 4999)),
    *(
        (f"7.9 code {code}", close(code), [], 1002)
        for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2999, 5000, 65535)
    ),
    # RFC 6455, beyond the suite
    ("no mask", frame(TEXT, HELLO, masked=False), [], 1002),
    ("longer than need be", frame(BINARY, HELLO, width=8), [], 1002),
    ("the highest bit of a length", frame(BINARY, width=8, length=1 << 63), [], 1002),
    ("one byte over the limit", frame(BINARY, b"x" * 65537), [], 1009),
    ("9.3: 65,536 fragments", fragments(*[b"*"] * 65536), [echo(b"*" * 65536)], GOES_ON),
]


assert len({name for name, *_ in CASES}) == len(CASES)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with Served("--broadcasts-per-second", "0") as server:
        yield server


@pytest.mark.parametrize("case", [pytest.param(case, id=case[0]) for case in CASES])
def test_a_frame_is_echoed_or_ends_with_its_close_code(server: Served, case: Case) -> None:
    """Each frame that is owed comes, in order, and then the close frame with its code.

    Sent in one piece, with the handshake in front of it, and byte by byte.
    """
    name, data, expected, code = case
    before, after = data if isinstance(data, tuple) else (data, b"")
    room = f"/raw/{quote(name)}"
    with Peer(server.address) as peer:
        peer.send_to_the_end(upgrade(room) + before)
        peer.be_welcomed(room)
        assert [peer.next_frame() for _ in expected] == expected
        peer.send_to_the_end(after)
        _see_the_end(peer, code)
    if len(before) < 200:
        with server.peer(room) as peer:
            for byte in before:
                peer.send_to_the_end(bytes((byte,)))
            assert [peer.next_frame() for _ in expected] == expected
            for byte in after:
                peer.send_to_the_end(bytes((byte,)))
            _see_the_end(peer, code)


def _see_the_end(peer: Peer, code: int | None) -> None:
    if code is GOES_ON:
        peer.send(frame(TEXT, b"and on"))
        assert peer.next_frame() == echo(b"and on")
        peer.send(END)
        code = 1000
    assert peer.close_code() == code
