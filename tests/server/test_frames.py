"""Every rule of RFC 6455 that a server must hold its client to, with its close code.

The tables follow the Autobahn test suite, sections 1 to 7, by their numbers.
"""

from __future__ import annotations

import itertools
import pickle
import tracemalloc
from collections.abc import Iterable, Iterator
from typing import SupportsIndex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomactors.server.frames import (
    Binary,
    Close,
    Frame,
    FrameParser,
    Ping,
    Pong,
    ProtocolViolation,
    Text,
    binary_frame,
    close_frame,
    ping_frame,
    pong_frame,
    text_frame,
)

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = bytes.fromhex("37fa213d")

# The same examples in every run; a longer search is for whoever changes the parser.
repeatable = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    width: int | None = None,
    length: int | None = None,
) -> bytes:
    """Write a frame as a client would, or as it must not.

    Args:
      rsv: the three reserved bits as a number; 4 is RSV1.
      mask: None leaves the frame unmasked.
      width: bytes of extended length (0, 2 or 8); None chooses the shortest form.
      length: the length to declare; None declares the payload's own.
    """
    length = len(payload) if length is None else length
    if width is None:
        width = 0 if length < 126 else 2 if length < 1 << 16 else 8
    short = {0: length, 2: 126, 8: 127}[width]
    head = bytes((fin << 7 | rsv << 4 | opcode, (mask is not None) << 7 | short))
    head += length.to_bytes(width, "big") if width else b""
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def take_all(parser: FrameParser) -> Iterator[Frame]:
    while (frame := parser.next()) is not None:
        yield frame


Outcome = tuple[list[Frame], int | None]


def parse(
    pieces: Iterable[bytes], *, max_message_bytes: int = 0, max_fragments: int = 70_000
) -> Outcome:
    """Feed the pieces one by one; return what came out, and the violation's code if any."""
    parser = FrameParser(max_message_bytes=max_message_bytes, max_fragments=max_fragments)
    frames: list[Frame] = []
    code = None
    for piece in pieces:
        parser.feed(piece)
        try:
            frames.extend(take_all(parser))
        except ProtocolViolation as violation:
            assert code is None, "a dead parser raised again"
            code = violation.code
    return frames, code


def chopped(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def parse_every_way(data: bytes, *, max_message_bytes: int = 0) -> Outcome:
    """Parse whole, in single bytes and in odd pieces; all must agree."""
    whole = parse([data], max_message_bytes=max_message_bytes)
    for size in (1, 2, 3, 7, 997):
        if len(data) > 20_000 * size:
            continue  # tens of thousands of reads show nothing that fewer do not
        assert parse(chopped(data, size), max_message_bytes=max_message_bytes) == whole
    # Fed in pieces, and only then looked at.
    parser = FrameParser(max_message_bytes=max_message_bytes)
    for piece in chopped(data, 5):
        parser.feed(piece)
    frames: list[Frame] = []
    code = None
    try:
        frames.extend(take_all(parser))
    except ProtocolViolation as violation:
        code = violation.code
    assert (len(frames), code) == (len(whole[0]), whole[1])
    return whole


SIZES = [0, 1, 2, 3, 4, 5, 125, 126, 127, 128, 511, 512, 513, 514, 515, 65535, 65536, 100_000]


@pytest.mark.parametrize("size", SIZES)
def test_a_text_of_any_size_arrives_whole_however_it_is_cut(size: int) -> None:
    """Autobahn 1.1: every form of the length, and each way of unmasking."""
    payload = bytes(32 + i % 95 for i in range(size))
    assert parse_every_way(client_frame(TEXT, payload)) == ([Text(payload)], None)


@pytest.mark.parametrize("size", SIZES)
def test_a_binary_message_of_any_size_arrives_whole_however_it_is_cut(size: int) -> None:
    """Autobahn 1.2, with bytes that are no UTF-8."""
    payload = bytes(i * 7 % 256 for i in range(size))
    assert parse_every_way(client_frame(BINARY, payload)) == ([Binary(payload)], None)


def test_many_messages_in_one_feed_come_out_in_order() -> None:
    """What one read brings is returned message by message."""
    payloads = [b"%d" % i * (i % 60) for i in range(500)]
    data = b"".join(client_frame(TEXT, p) for p in payloads)
    assert parse_every_way(data) == ([Text(p) for p in payloads], None)


@pytest.mark.parametrize(
    ("opcode", "kind", "payload"),
    [
        (opcode, kind, payload)
        for opcode, kind in ((PING, Ping), (PONG, Pong))
        for payload in (b"", b"Hello", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125)
    ],
)
def test_a_ping_or_pong_carries_up_to_125_bytes(
    opcode: int, kind: type[Ping] | type[Pong], payload: bytes
) -> None:
    """Autobahn 2.1 to 2.4, 2.6 and 2.7: asked for or not, any bytes."""
    assert parse_every_way(client_frame(opcode, payload)) == ([kind(payload)], None)


def test_ten_pings_in_a_row_are_ten_pings() -> None:
    """Autobahn 2.10 and 2.11."""
    data = b"".join(client_frame(PING, b"payload-%d" % i) for i in range(10))
    assert parse_every_way(data) == ([Ping(b"payload-%d" % i) for i in range(10)], None)


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
@pytest.mark.parametrize("size", [126, 127, 65536])
def test_a_control_frame_over_125_bytes_is_1002(opcode: int, size: int) -> None:
    """Autobahn 2.5 and 7.3.6; the header alone decides."""
    data = client_frame(opcode, length=size)
    assert parse_every_way(data) == ([], 1002)
    assert parse([data[:2]]) == ([], 1002)


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG])
def test_a_reserved_bit_is_1002(rsv: int, opcode: int) -> None:
    """Autobahn 3: what came before is still returned."""
    before = client_frame(TEXT, b"Hello, world!")
    assert parse_every_way(before + client_frame(opcode, b"", rsv=rsv)) == (
        [Text(b"Hello, world!")],
        1002,
    )


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"reserved opcode payload"])
def test_a_reserved_opcode_is_1002(opcode: int, payload: bytes) -> None:
    """Autobahn 4: between two messages, of which the second is never read."""
    data = client_frame(TEXT, b"before") + client_frame(opcode, payload) + client_frame(PING)
    assert parse_every_way(data) == ([Text(b"before")], 1002)


def fragments(*parts: bytes, opcode: int = TEXT, between: bytes = b"") -> bytes:
    frames = [
        client_frame(opcode if i == 0 else CONTINUATION, part, fin=i == len(parts) - 1)
        for i, part in enumerate(parts)
    ]
    return between.join(frames)


FRAGMENTED: list[tuple[str, bytes, list[Frame], int | None]] = [
    ("5.1", client_frame(PING, b"fragment1", fin=False), [], 1002),
    ("5.2", client_frame(PONG, b"fragment1", fin=False), [], 1002),
    ("5.2 close", client_frame(CLOSE, b"\x03\xe8", fin=False), [], 1002),
    ("5.3", fragments(b"fragment1", b"fragment2"), [Text(b"fragment1fragment2")], None),
    (
        "5.3 binary",
        fragments(b"\xff\xfe", b"\xfd", b"\xfc", opcode=BINARY),
        [Binary(b"\xff\xfe\xfd\xfc")],
        None,
    ),
    (
        "5.6",
        fragments(b"fragment1", b"fragment2", between=client_frame(PING, b"ping")),
        [Ping(b"ping"), Text(b"fragment1fragment2")],
        None,
    ),
    ("5.9", client_frame(CONTINUATION, b"non-continuation payload"), [], 1002),
    ("5.9 empty", client_frame(CONTINUATION), [], 1002),
    ("5.12", client_frame(CONTINUATION, b"non-continuation payload", fin=False), [], 1002),
    (
        "5.15",
        fragments(b"fragment1", b"fragment2")
        + client_frame(CONTINUATION, b"fragment3", fin=False)
        + client_frame(TEXT, b"fragment4"),
        [Text(b"fragment1fragment2")],
        1002,
    ),
    (
        "5.18",
        client_frame(TEXT, b"fragment1", fin=False) + client_frame(TEXT, b"fragment2"),
        [],
        1002,
    ),
    (
        "5.18 binary",
        client_frame(TEXT, b"fragment1", fin=False) + client_frame(BINARY, b"2", fin=False),
        [],
        1002,
    ),
    (
        "5.19",
        client_frame(TEXT, b"fragment1", fin=False)
        + client_frame(CONTINUATION, b"fragment2", fin=False)
        + client_frame(PING, b"pongme 1!")
        + client_frame(CONTINUATION, b"fragment3", fin=False)
        + client_frame(CONTINUATION, b"fragment4", fin=False)
        + client_frame(PONG, b"pongme 2!")
        + client_frame(CONTINUATION, b"fragment5"),
        [
            Ping(b"pongme 1!"),
            Pong(b"pongme 2!"),
            Text(b"fragment1fragment2fragment3fragment4fragment5"),
        ],
        None,
    ),
    ("6.1.1", client_frame(TEXT), [Text(b"")], None),
    ("6.1.2", fragments(b"", b"", b""), [Text(b"")], None),
    ("6.1.3", fragments(b"", b"middle frame payload", b""), [Text(b"middle frame payload")], None),
]


@pytest.mark.parametrize(
    ("data", "frames", "code"),
    [pytest.param(*row[1:], id=row[0]) for row in FRAGMENTED],
)
def test_fragments_make_one_message_or_are_1002(
    data: bytes, frames: list[Frame], code: int | None
) -> None:
    """Autobahn 5 and 6.1: control frames come out between fragments, in order."""
    assert parse_every_way(data) == (frames, code)


def test_the_mask_may_change_with_every_fragment() -> None:
    """Each frame has a mask of its own, and it begins anew with each."""
    data = client_frame(TEXT, b"abcde", fin=False, mask=b"\x01\x02\x03\x04")
    data += client_frame(CONTINUATION, b"fghij" * 200, mask=b"\xff\x00\x80\x7f")
    assert parse_every_way(data) == ([Text(b"abcde" + b"fghij" * 200)], None)


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
@pytest.mark.parametrize("size", [0, 5, 125])
def test_an_unmasked_frame_is_1002(opcode: int, size: int) -> None:
    """RFC 6455, 5.1: a server closes on one."""
    assert parse_every_way(client_frame(opcode, b"a" * size, mask=None) + b"more") == ([], 1002)


@pytest.mark.parametrize(
    ("length", "width"),
    [(0, 2), (1, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65535, 8)],
)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_length_that_is_not_in_its_shortest_form_is_1002(
    opcode: int, length: int, width: int
) -> None:
    """RFC 6455, 5.2, for messages that are otherwise right."""
    data = client_frame(opcode, b"a" * length, width=width)
    assert parse_every_way(data) == ([], 1002)
    assert parse([data[: 2 + width]]) == ([], 1002), "the header without its mask decides"


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("max_message_bytes", [0, 100])
def test_a_length_with_the_highest_bit_set_is_1002(length: int, max_message_bytes: int) -> None:
    """RFC 6455, 5.2; it is a broken frame before it is a large one."""
    data = client_frame(BINARY, length=length)
    assert parse_every_way(data, max_message_bytes=max_message_bytes) == ([], 1002)


def test_without_a_limit_the_largest_legal_length_is_waited_for() -> None:
    """Nothing is set aside for what has only been announced."""
    parser = FrameParser(max_message_bytes=0)
    parser.feed(client_frame(BINARY, b"abc", length=(1 << 63) - 1))
    assert parser.next() is None
    assert parser.buffered == 3


def first_bad_byte(data: bytes) -> int | None:
    """Find the first byte after which no continuation makes `data` UTF-8.

    Written from table 3-7 of the Unicode standard, as a judge of Python's decoder. What
    merely ends within a character gives `len(data)`; what is UTF-8 gives None.
    """
    table = [
        (range(0x80), []),
        (range(0xC2, 0xE0), [range(0x80, 0xC0)]),
        (range(0xE0, 0xE1), [range(0xA0, 0xC0), range(0x80, 0xC0)]),
        (range(0xE1, 0xED), [range(0x80, 0xC0)] * 2),
        (range(0xED, 0xEE), [range(0x80, 0xA0), range(0x80, 0xC0)]),
        (range(0xEE, 0xF0), [range(0x80, 0xC0)] * 2),
        (range(0xF0, 0xF1), [range(0x90, 0xC0), *[range(0x80, 0xC0)] * 2]),
        (range(0xF1, 0xF4), [range(0x80, 0xC0)] * 3),
        (range(0xF4, 0xF5), [range(0x80, 0x90), *[range(0x80, 0xC0)] * 2]),
    ]
    expected: list[range] = []
    for index, byte in enumerate(data):
        if expected:
            if byte not in expected[0]:
                return index
            expected = expected[1:]
        else:
            rows = [rest for lead, rest in table if byte in lead]
            if not rows:
                return index
            expected = rows[0]
    return len(data) if expected else None


KOSME = "κ\u1f79σμε"  # the suite's own spelling, 11 bytes
UTF8_TABLE = [
    # 6.2: valid, in one or more fragments
    ("6.2.1", "Hello-µ@ßöäüàá-UTF-8!!".encode()),
    ("6.2.3", "Hello-µ@ßöäüàá-UTF-8!!\U0001f600".encode()),
    # 6.3 and 6.4: a surrogate or a character above U+10FFFF in the middle
    ("6.3", KOSME.encode() + bytes.fromhex("eda080") + b"edited"),
    ("6.4", KOSME.encode() + bytes.fromhex("f4908080") + b"edited"),
    # 6.5 and 6.6: all beginnings of a text
    *((f"6.6.{n}", KOSME.encode()[:n]) for n in range(1, 12)),
    *(
        (f"{section} {sequence}", bytes.fromhex(sequence))
        for section, sequences in (
            ("6.7", "00 c280 e0a080 f0908080"),
            ("6.8", "f888808080 fc8480808080"),
            ("6.9", "7f dfbf efbfbf f48fbfbf"),
            ("6.10", "f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf"),
            ("6.11", "ed9fbf ee8080 efbfbd f48fbfbf f4908080"),
            ("6.12", "80 bf 80bf 80bf80 80bf80bf 80bf80bf80 80bf80bf80bf 80818283be"),
            ("6.13", "c020c120c220df20 e020e120ef20 f020f120f720 f820f920fb20 fc20fd20"),
            ("6.14", "c0 e080 f08080 f8808080 fc80808080 df efbf f7bfbf fbbfbfbf fdbfbfbfbf"),
            ("6.15", "c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf"),
            ("6.16", "fe ff fefeffff"),
            ("6.17", "c0af e080af f08080af f8808080af fc80808080af"),
            ("6.18", "c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf"),
            ("6.19", "c080 e08080 f0808080 f880808080 fc8080808080"),
            ("6.20", "eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf"),
            ("6.21", "eda080edb080 eda080edbfbf edadbfedb080 edafbfedbfbf"),
            ("6.22", "efbfbe efbfbf f09fbfbe f09fbfbf f0afbfbe f3bfbfbf f48fbfbe f48fbfbf"),
            ("6.23", "efbfb9 efbfba efbfbb efbfbc efbfbd"),
        )
        for sequence in sequences.split()
    ),
]
INVALID_SECTIONS = {"6.3", "6.4", "6.8", "6.10", *(f"6.{n}" for n in range(12, 22))}


def check_text(payload: bytes) -> None:
    bad = first_bad_byte(payload)
    expected: Outcome = ([Text(payload)], None) if bad is None else ([], 1007)
    single = client_frame(TEXT, payload)
    assert parse_every_way(single) == expected
    in_fragments = fragments(*(payload[i : i + 1] for i in range(len(payload))), b"")
    assert parse_every_way(in_fragments) == expected
    if bad is None:
        return

    # At the very byte, in a frame of which the rest never arrives. A text that ends
    # within a character is bad at its end.
    head = len(single) - len(payload)
    assert parse(chopped(single[: head + bad], 1)) == ([], None if bad < len(payload) else 1007)
    assert parse([single[: head + bad + 1]]) == ([], 1007)

    # And in a message of one-byte fragments (7 bytes each), without its last one.
    assert parse([in_fragments[: 7 * bad]]) == ([], None)
    if bad < len(payload):
        assert parse([in_fragments[: 7 * (bad + 1)]]) == ([], 1007)


@pytest.mark.parametrize("payload", [pytest.param(row[1], id=row[0]) for row in UTF8_TABLE])
def test_text_is_checked_as_it_arrives(payload: bytes) -> None:
    """Autobahn 6: 1007 at the first bad byte, also in frames and messages not complete."""
    check_text(payload)


def test_the_judge_of_utf8_agrees_with_the_tables() -> None:
    """The sections that are about bad bytes are bad, the others are not."""
    for name, payload in UTF8_TABLE:
        section = name.split()[0]
        if not section.startswith(("6.6.", "6.11")):
            assert (first_bad_byte(payload) is not None) == (section in INVALID_SECTIONS), name
    assert [first_bad_byte(KOSME.encode()[:n]) is None for n in range(1, 12)] == [
        n in {2, 5, 7, 9, 11} for n in range(1, 12)
    ]
    assert first_bad_byte(bytes.fromhex("f4908080")) == 1


@given(st.lists(st.sampled_from([*(row[1] for row in UTF8_TABLE), b"a", b"\xc3", b"\xa9"])))
@repeatable
def test_joined_pieces_of_text_are_checked_like_one(pieces: list[bytes]) -> None:
    """Whatever precedes a bad byte, it is found where it stands."""
    check_text(b"".join(pieces)[:120])


def test_binary_messages_are_not_checked_for_utf8() -> None:
    """Also not as fragments."""
    data = client_frame(BINARY, b"\xff\xc0") + fragments(b"\xff", b"\xc0", opcode=BINARY)
    assert parse_every_way(data) == ([Binary(b"\xff\xc0"), Binary(b"\xff\xc0")], None)


def test_a_bad_text_after_good_ones_takes_nothing_from_them() -> None:
    """The messages before it are returned first."""
    data = client_frame(TEXT, b"good") + client_frame(TEXT, b"b\xffd") + client_frame(TEXT, b"x")
    assert parse_every_way(data) == ([Text(b"good")], 1007)


ALLOWED = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
FORBIDDEN = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", ALLOWED)
def test_a_close_code_that_may_be_sent_is_returned(code: int) -> None:
    """Autobahn 7.7."""
    data = client_frame(CLOSE, code.to_bytes(2, "big"))
    assert parse_every_way(data) == ([Close(code, "")], None)


@pytest.mark.parametrize("code", FORBIDDEN)
def test_a_close_code_that_may_not_be_sent_is_1002(code: int) -> None:
    """Autobahn 7.9 and 7.13."""
    data = client_frame(CLOSE, code.to_bytes(2, "big") + b"why")
    assert parse_every_way(data) == ([], 1002)


@pytest.mark.parametrize(
    ("payload", "frames", "code"),
    [
        pytest.param(b"", [Close(None, "")], None, id="7.3.1"),
        pytest.param(b"a", [], 1002, id="7.3.2"),
        pytest.param(b"\x03\xe8", [Close(1000, "")], None, id="7.3.3"),
        pytest.param(b"\x03\xe8Hello World!", [Close(1000, "Hello World!")], None, id="7.3.4"),
        pytest.param(b"\x03\xe8" + b"*" * 123, [Close(1000, "*" * 123)], None, id="7.3.5"),
        pytest.param(b"\x03\xe8" + b"*" * 124, [], 1002, id="7.3.6"),
        pytest.param(b"\x03\xe8" + "µ€".encode(), [Close(1000, "µ€")], None, id="7.5 valid"),
        pytest.param(b"\x03\xe8" + KOSME.encode() + b"\xed\xa0\x80", [], 1007, id="7.5.1"),
        pytest.param(b"\x03\xe8\xc3", [], 1007, id="7.5 cut"),
    ],
)
def test_a_close_frame_is_right_or_answered_with_its_code(
    payload: bytes, frames: list[Frame], code: int | None
) -> None:
    """Autobahn 7.3 and 7.5."""
    assert parse_every_way(client_frame(CLOSE, payload)) == (frames, code)


@pytest.mark.parametrize(
    "after",
    [client_frame(TEXT, b"late"), client_frame(PING), client_frame(CLOSE), b"\xff" * 50],
)
def test_nothing_after_a_close_frame_is_read(after: bytes) -> None:
    """Autobahn 7.1: not what came with it, not what comes later, not what is broken."""
    parser = FrameParser(max_message_bytes=0)
    parser.feed(client_frame(TEXT, b"a", fin=False) + client_frame(CLOSE, b"\x03\xe8") + after)
    assert parser.next() == Close(1000, "")
    for _ in range(3):
        assert parser.next() is None
        parser.feed(after)
        assert parser.buffered == 0
        assert not parser.in_message


@pytest.mark.parametrize(
    "broken",
    [
        client_frame(TEXT, b"a", rsv=1),
        client_frame(TEXT, b"\xff"),
        client_frame(TEXT, b"\xff", length=2),
        client_frame(CLOSE, b"a"),
        client_frame(BINARY, length=1001),
    ],
)
def test_a_parser_that_has_raised_is_dead_and_holds_nothing(broken: bytes) -> None:
    """Raised once; then None for ever, and no memory kept, whatever is fed."""
    parser = FrameParser(max_message_bytes=1000)
    parser.feed(broken)
    parser.feed(client_frame(TEXT, b"more"))
    with pytest.raises(ProtocolViolation):
        parser.next()
    for _ in range(3):
        assert parser.next() is None
        parser.feed(client_frame(TEXT, b"more"))
        assert parser.buffered == 0
        assert not parser.in_message


@pytest.mark.parametrize("limit", [1, 125, 126, 1000, 65535, 65536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_of_exactly_the_limit_passes_and_one_byte_more_is_1009(
    opcode: int, limit: int
) -> None:
    """In one frame, and as the sum of fragments."""
    kind = Text if opcode == TEXT else Binary
    whole = client_frame(opcode, b"a" * limit)
    assert parse_every_way(whole, max_message_bytes=limit) == ([kind(b"a" * limit)], None)
    over = client_frame(opcode, b"a" * (limit + 1))
    assert parse_every_way(whole + over, max_message_bytes=limit) == ([kind(b"a" * limit)], 1009)

    parts = fragments(b"a" * (limit - 1), b"a", b"", opcode=opcode)
    assert parse_every_way(parts, max_message_bytes=limit) == ([kind(b"a" * limit)], None)
    parts = fragments(b"a" * (limit - 1), b"", b"a", b"a", opcode=opcode)
    assert parse_every_way(parts, max_message_bytes=limit) == ([], 1009)


@pytest.mark.parametrize("length", [101, 126, 65536, (1 << 63) - 1])
def test_a_message_over_the_limit_is_1009_before_its_payload(length: int) -> None:
    """The header's length is enough, and so it is for a later fragment."""
    header = client_frame(TEXT, length=length)[:-4]
    assert parse([header], max_message_bytes=100) == ([], 1009)
    first = client_frame(TEXT, b"a" * 100, fin=False)
    header = client_frame(CONTINUATION, length=1)[:-4]
    assert parse([first + header], max_message_bytes=100) == ([], 1009)


def test_control_frames_do_not_count_against_the_limit() -> None:
    """A ping larger than any message is still a ping."""
    data = fragments(b"a", b"b", between=client_frame(PING, b"p" * 125))
    assert parse_every_way(data, max_message_bytes=2) == ([Ping(b"p" * 125), Text(b"ab")], None)


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_one_fragment_too_many_is_1008(limit: int) -> None:
    """Exactly the limit passes; the next message starts to count anew."""
    enough = fragments(*[b"a"] * limit)
    assert parse([enough, enough], max_fragments=limit) == ([Text(b"a" * limit)] * 2, None)
    too_many = fragments(*[b"a"] * (limit + 1))
    assert parse([enough, too_many], max_fragments=limit) == ([Text(b"a" * limit)], 1008)


def test_by_default_a_message_has_at_most_70_000_fragments() -> None:
    """Autobahn 9.3 and 9.4 need 65,536 of them."""
    begin, middle, end = (
        client_frame(BINARY, fin=False),
        client_frame(CONTINUATION, fin=False),
        client_frame(CONTINUATION),
    )
    assert parse([begin, middle * 69_998, end]) == ([Binary(b"")], None)
    assert parse([begin, middle * 69_999, end]) == ([], 1008)


def test_without_a_limit_fragments_are_not_counted_out() -> None:
    """Zero turns this limit off too."""
    data = fragments(*[b""] * 70_001)
    assert parse([data], max_fragments=0) == ([Text(b"")], None)


def test_empty_fragments_take_no_memory() -> None:
    """They are counted and forgotten."""
    parser = FrameParser(max_message_bytes=1000)
    batch = client_frame(CONTINUATION, fin=False) * 1000
    parser.feed(client_frame(TEXT, b"a", fin=False) + batch)
    assert parser.next() is None
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(60):
            parser.feed(batch)
            assert parser.next() is None
        assert tracemalloc.get_traced_memory()[0] - before < 2000  # 60,000 of them
    finally:
        tracemalloc.stop()
    assert parser.buffered == 1


class CountedBytes(bytes):
    """Bytes that count how many are copied out of them, and out of the copies."""

    copied = 0

    def __getitem__(self, index: SupportsIndex | slice) -> int | bytes:  # type: ignore[override]
        found = bytes(self)[index]
        if isinstance(found, int):
            return found
        CountedBytes.copied += len(found)
        return CountedBytes(found)


def test_small_messages_in_a_large_read_are_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the buffer is not moved for each of them."""
    monkeypatch.setattr(CountedBytes, "copied", 0)
    frame = client_frame(TEXT, b"a" * 24)
    data = CountedBytes(frame * (65536 // len(frame)))
    frames, code = parse([data])
    assert (len(frames), code) == (2184, None)
    assert CountedBytes.copied <= len(data)


def test_fragments_and_pings_in_a_large_read_are_copied_a_few_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The slower way through the parser is not quadratic either."""
    monkeypatch.setattr(CountedBytes, "copied", 0)
    some = fragments(b"a" * 24, b"b" * 24, between=client_frame(PING, b"ping"))
    data = CountedBytes(some * (65536 // len(some)))
    assert len(parse([data])[0]) == 2 * (65536 // len(some))
    assert CountedBytes.copied <= 2 * len(data)


def test_reading_one_message_per_feed_does_not_move_the_backlog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A driver that feeds while messages wait pays for each byte once."""
    monkeypatch.setattr(CountedBytes, "copied", 0)
    frame = client_frame(PING, b"a" * 24)
    parser = FrameParser(max_message_bytes=0)
    data = CountedBytes(frame * 2000)
    parser.feed(data)
    for _ in range(2000):
        parser.feed(frame)
        assert parser.next() == Ping(b"a" * 24)
    assert CountedBytes.copied <= 2 * len(data)
    assert sum(1 for _ in take_all(parser)) == 2000


def test_a_large_message_in_small_reads_takes_little_more_than_itself() -> None:
    """16 MiB in reads of 4 KiB: one growing buffer, and one copy at the end."""
    size = 16 << 20
    payload = bytes(range(256)) * (size // 256)
    # A mask of zeros leaves the payload as it is; the header is what matters here.
    data = client_frame(BINARY, length=size, mask=bytes(4)) + payload
    parser = FrameParser(max_message_bytes=size)
    tracemalloc.start()
    try:
        frames: list[Frame] = []
        for i in range(0, len(data), 4096):
            parser.feed(data[i : i + 4096])
            frames.extend(take_all(parser))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert frames == [Binary(payload)]
    assert peak < 2.5 * size
    assert parser.buffered == 0


def test_an_idle_parser_does_not_keep_the_last_read() -> None:
    """A few bytes of a next frame do not hold the 64 KiB that they came with."""
    parser = FrameParser(max_message_bytes=0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        parser.feed(client_frame(TEXT, b"a" * 100) * 600 + b"\x81")
        assert sum(1 for _ in take_all(parser)) == 600
        assert tracemalloc.get_traced_memory()[0] - before < 4000
    finally:
        tracemalloc.stop()
    assert parser.buffered == 1


def test_in_message_and_buffered_follow_what_has_arrived() -> None:
    """From the first byte of a frame to the last one of its message."""
    parser = FrameParser(max_message_bytes=0)
    seen = []
    data = fragments(b"ab", b"cd", between=client_frame(PING, b"p"))
    for i in range(len(data)):
        parser.feed(data[i : i + 1])
        frame = parser.next()
        seen.append((parser.buffered, parser.in_message))
        assert (frame is not None) == (i in (14, 22))
    header = list(range(1, 6))
    assert seen == [
        *((n, True) for n in (*header, 0, 1, 2)),  # the first fragment
        *((2 + n, True) for n in (*header, 6, 0)),  # the ping
        *((2 + n, True) for n in (*header, 0, 1)),  # the last fragment
        (0, False),
    ]


def test_buffered_counts_what_waits_for_next() -> None:
    """Also what was fed while there was something to read."""
    parser = FrameParser(max_message_bytes=0)
    assert (parser.buffered, parser.in_message) == (0, False)
    frame = client_frame(TEXT, b"abc")
    parser.feed(frame)
    parser.feed(frame)
    parser.feed(frame)
    assert parser.buffered == 27
    assert parser.next() == Text(b"abc")
    assert (parser.buffered, parser.in_message) == (18, True)
    assert list(take_all(parser)) == [Text(b"abc")] * 2
    assert (parser.buffered, parser.in_message) == (0, False)


def test_feeding_nothing_changes_nothing() -> None:
    """An empty read is no frame."""
    frame = client_frame(TEXT, b"abc")
    assert parse([b"", frame[:3], b"", frame[3:], b""]) == ([Text(b"abc")], None)


anything = st.lists(
    st.builds(
        client_frame,
        st.sampled_from([CONTINUATION, TEXT, BINARY, PING, PONG] * 3 + [CLOSE, 3, 11]),
        st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode)),
        fin=st.booleans(),
        rsv=st.sampled_from([0] * 20 + [1, 2, 4]),
        mask=st.one_of(*[st.binary(min_size=4, max_size=4)] * 10, st.none()),
    ),
    max_size=8,
).map(b"".join)


@given(data=anything, cuts=st.lists(st.integers(0, 3000)), limit=st.sampled_from([0, 0, 200]))
@repeatable
def test_how_the_bytes_are_cut_makes_no_difference(
    data: bytes, cuts: list[int], limit: int
) -> None:
    """One feed, single bytes and random pieces give the same frames and the same code."""
    whole = parse([data], max_message_bytes=limit)
    assert parse(chopped(data, 1), max_message_bytes=limit) == whole
    ends = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(ends)]
    assert parse(pieces, max_message_bytes=limit) == whole


@given(st.binary(max_size=1200), st.binary(min_size=4, max_size=4))
@repeatable
def test_any_payload_is_unmasked_with_any_mask(payload: bytes, mask: bytes) -> None:
    """The bytes that went in come out."""
    assert parse([client_frame(BINARY, payload, mask=mask)]) == ([Binary(payload)], None)


def test_a_violation_says_its_code_and_its_reason() -> None:
    """It is a value that can be logged, and passed between processes."""
    parser = FrameParser(max_message_bytes=100)
    parser.feed(client_frame(TEXT, length=101))
    with pytest.raises(ProtocolViolation) as raised:
        parser.next()
    violation = pickle.loads(pickle.dumps(raised.value))
    assert (violation.code, violation.reason) == (1009, "a message may have at most 100 bytes")
    assert str(violation) == "1009: a message may have at most 100 bytes"


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x00"),
        (125, b"\x7d"),
        (126, b"\x7e\x00\x7e"),
        (65535, b"\x7e\xff\xff"),
        (65536, b"\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_server_frame_has_the_shortest_header_and_no_mask(size: int, header: bytes) -> None:
    """At each border of the length's forms."""
    payload = b"a" * size
    assert text_frame(payload) == b"\x81" + header + payload
    assert binary_frame(payload) == b"\x82" + header + payload


def test_control_frames_are_written_with_up_to_125_bytes() -> None:
    """One byte more is the caller's mistake, and no frame."""
    assert ping_frame(b"") == b"\x89\x00"
    assert ping_frame(b"p" * 125) == b"\x89\x7d" + b"p" * 125
    assert pong_frame(b"abc") == b"\x8a\x03abc"
    for make in (ping_frame, pong_frame):
        with pytest.raises(ValueError, match="at most 125 bytes"):
            make(b"p" * 126)


@pytest.mark.parametrize("code", ALLOWED)
def test_a_close_frame_carries_code_and_reason(code: int) -> None:
    """The code in two bytes, the reason in UTF-8."""
    assert close_frame(code) == b"\x88\x02" + code.to_bytes(2, "big")
    assert close_frame(code, "ö") == b"\x88\x04" + code.to_bytes(2, "big") + b"\xc3\xb6"


@pytest.mark.parametrize("code", [*FORBIDDEN, -1, 65536])
def test_a_close_code_that_may_not_be_sent_is_not_written(code: int) -> None:
    """It is the caller's mistake."""
    with pytest.raises(ValueError, match=f"close code {code} may not be sent"):
        close_frame(code)


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        ("a" * 123, b"a" * 123),
        ("a" * 124, b"a" * 123),
        ("ö" * 62, "ö".encode() * 61),
        ("€" * 42, "€".encode() * 41),
        ("\U0001f600" * 31, "\U0001f600".encode() * 30),
        ("a" * 122 + "\U0001f600", b"a" * 122),
        ("lone \ud800", b"lone ?"),
    ],
)
def test_a_long_close_reason_is_cut_between_two_characters(reason: str, sent: bytes) -> None:
    """To 123 bytes at most; what UTF-8 cannot carry is replaced."""
    assert close_frame(1000, reason) == bytes((0x88, 2 + len(sent))) + b"\x03\xe8" + sent
