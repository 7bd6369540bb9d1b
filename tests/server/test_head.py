"""The head of an HTTP request, from bytes."""

from __future__ import annotations

import pickle

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roomactors.server.head import (
    MAX_HEAD_BYTES,
    HttpRefusal,
    Request,
    head_end,
    parse_head,
    unquote_strictly,
)
from tests.server.heads import UPGRADE, head_of, request_of

HOST = {"Host": "rooms.example"}


def refusal(raw: bytes) -> HttpRefusal:
    """How this head is refused."""
    with pytest.raises(HttpRefusal) as caught:
        parse_head(raw, remote="", secure=False)
    return caught.value


def padded(size: int) -> bytes:
    """A good head of this many bytes."""
    short = head_of("GET / HTTP/1.1", ("X", ""), base=HOST)
    return head_of("GET / HTTP/1.1", ("X", "x" * (size - len(short))), base=HOST)


def test_a_request_is_read_as_it_was_sent() -> None:
    """Every part of a head is where it belongs."""
    raw = head_of("GET /a%20b?x=1&y=a+b%21&x=2&z HTTP/1.1", ("X-One", " 1 "), ("x-one", "2"))
    request = parse_head(raw, remote="192.0.2.7", secure=True)
    assert request.method == "GET"
    assert request.target == "/a%20b?x=1&y=a+b%21&x=2&z"
    assert request.path == "/a%20b"
    assert request.query == {"x": "1", "y": "a b!", "z": ""}
    assert request.headers[0] == ("host", "rooms.example:8000")
    assert request.header("x-one") == "1, 2"
    assert request.header("x-two") is None
    assert (request.remote, request.secure, request.raw) == ("192.0.2.7", True, raw)


def test_a_request_shows_no_secrets_when_printed() -> None:
    """Tokens and sessions are in target, query and headers, and these are not in the repr."""
    request = request_of("GET /ws?session=SECRET HTTP/1.1", ("Authorization", "Bearer SECRET"))
    assert "SECRET" not in repr(request)


@pytest.mark.parametrize(
    ("connection", "upgrade", "asks"),
    [
        ("Upgrade", "websocket", True),
        ("keep-alive, UPGRADE", "WebSocket", True),
        ("keep-alive", "websocket", False),
        ("upgrade", "h2c", False),
        ("upgrades", "websocket", False),
        (None, "websocket", False),
        ("Upgrade", None, False),
    ],
)
def test_an_upgrade_is_asked_for_by_tokens(
    connection: str | None, upgrade: str | None, asks: bool
) -> None:
    """Connection names the upgrade and Upgrade names websocket, in any case."""
    more = [(n, v) for n, v in (("Connection", connection), ("Upgrade", upgrade)) if v is not None]
    assert request_of("GET / HTTP/1.1", *more, base=HOST).is_upgrade is asks


def test_the_end_of_a_head_is_found_however_it_arrives() -> None:
    """Every beginning of a head is incomplete, and what follows it is not looked at."""
    raw = head_of()
    assert [head_end(raw[:size]) for size in range(len(raw))] == [None] * len(raw)
    assert head_end(raw) == len(raw)
    assert head_end(bytearray(raw + b"\x81\x80\xff\n")) == len(raw)


def test_a_head_may_take_8192_bytes_and_no_more() -> None:
    """The limit is exact, whether the head comes in one piece or in several."""
    fits, over = padded(MAX_HEAD_BYTES), padded(MAX_HEAD_BYTES + 1)
    assert (len(fits), len(over)) == (8192, 8193)
    assert parse_head(fits, remote="", secure=False).raw == fits
    assert head_end(fits + b"more") == 8192
    assert head_end(over[:8191]) is None
    for refused in (over, over[:8192], padded(1_000_000)):
        with pytest.raises(HttpRefusal) as caught:
            head_end(refused)
        assert (caught.value.status, caught.value.code) == (431, "head_too_large")


@pytest.mark.parametrize(
    "greeting",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"\x16",
        b"\x00",
        b"\xff\xff",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\rHost",
        b"\r\n",
        b" GET / HTTP/1.1\r\n",
        b"GET /\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET / HTTP/1.1 \r\n",
        b"GET / http/1.1\r\n",
        b"G(T / HTTP/1.1\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"GET / HTTP/1.1\r\nX: \x7f",
        b"GET / HTTP/1.1\r\nX: caf\xc3\xa9",
    ],
)
def test_what_can_never_be_a_request_is_refused_before_its_end(greeting: bytes) -> None:
    """Nobody waits for the rest of another protocol."""
    with pytest.raises(HttpRefusal) as caught:
        head_end(greeting)
    assert caught.value.status == 400


def test_a_tls_client_on_a_plain_port_is_told_so() -> None:
    """The commonest of these mistakes has its own sentence."""
    with pytest.raises(HttpRefusal, match="does not speak TLS"):
        head_end(b"\x16\x03\x01\x02\x00")


def host(value: str) -> bytes:
    """A head with this Host."""
    return head_of(base={**UPGRADE, "Host": value})


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(host("caf\xe9.example"), id="K1 a byte over 127 in Host"),
        pytest.param(host("xn--ab-99999999"), id="K2 bad punycode in Host"),
        pytest.param(host("a.xn--ab-99999999:80"), id="K2 with a port"),
        pytest.param(head_of(base={**UPGRADE, "Connection": "Upgrade\xe9"}), id="K3 Connection"),
        pytest.param(
            head_of("GET /ws HTTP/1.1", ("Sec-WebSocket-Protocol", "\xe9")), id="K3 Protocol"
        ),
        pytest.param(
            head_of("GET /ws HTTP/1.1", ("Sec-WebSocket-Extensions", "\xff")), id="K3 Extensions"
        ),
        pytest.param(head_of("GET /ws HTTP/1.0"), id="HTTP/1.0"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="HTTP/1.0 without Host"),
        pytest.param(head_of("GET /ws HTTP/1.2"), id="HTTP/1.2"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\n", id="HTTP/2"),
        pytest.param(head_of(without="Host"), id="no Host"),
        pytest.param(head_of("GET /ws HTTP/1.1", ("Host", "b")), id="two Hosts"),
        pytest.param(host(""), id="empty Host"),
        pytest.param(host("a b"), id="space in Host"),
        pytest.param(host("a,b:80:90"), id="two ports in Host"),
        pytest.param(host("a/b"), id="path in Host"),
        pytest.param(host("user@a"), id="user in Host"),
        pytest.param(host("[::1"), id="broken IPv6 in Host"),
        pytest.param(host("a:port"), id="words as port"),
        pytest.param(host("a" * 64 + "." + "a" * 200), id="long Host"),
        pytest.param(head_of("GET /ws HTTP/1.1", ("X", "a\r\n folded")), id="folded"),
        pytest.param(head_of("GET /ws HTTP/1.1", ("X", "a\r\n\tfolded")), id="folded by a tab"),
        pytest.param(head_of("GET /ws HTTP/1.1", ("X", "a\x00b")), id="NUL"),
        pytest.param(head_of("GET /ws HTTP/1.1", ("X", "a\x1bb")), id="escape"),
        pytest.param(head_of("GET /ws HTTP/1.1", ("X", "a\nY: b")), id="bare LF"),
        pytest.param(head_of("GET /ws HTTP/1.1", ("X", "a\rY: b")), id="bare CR"),
        pytest.param(head_of("GET /ws HTTP/1.1", ("X ", "a")), id="space before the colon"),
        pytest.param(head_of("GET /ws HTTP/1.1", ("", "a")), id="no name"),
        pytest.param(head_of("GET /ws HTTP/1.1", ("X(Y", "a")), id="bad name"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", id="no colon"),
        pytest.param(head_of("GET http://a/ws HTTP/1.1"), id="absolute target"),
        pytest.param(head_of("GET * HTTP/1.1"), id="asterisk"),
        pytest.param(head_of("GET ws HTTP/1.1"), id="no slash"),
        pytest.param(head_of("GET /ws#x HTTP/1.1"), id="fragment"),
        pytest.param(head_of("GET /ws?a=%zz HTTP/1.1"), id="broken escape"),
        pytest.param(head_of("GET /ws?a=%ff HTTP/1.1"), id="not UTF-8"),
        pytest.param(head_of("GET /ws?a=%ed%a0%80 HTTP/1.1"), id="surrogate"),
        pytest.param(head_of("GET /ws HTTP/1.1", ("Content-Length", "1")), id="body"),
        pytest.param(head_of("GET /ws HTTP/1.1", ("Content-Length", "-1")), id="length below 0"),
        pytest.param(head_of("POST / HTTP/1.1", ("Content-Length", "x")), id="no length"),
        pytest.param(head_of("HEAD / HTTP/1.1", ("Content-Length", "10")), id="HEAD with a body"),
        pytest.param(head_of("GET /ws HTTP/1.1", ("Transfer-Encoding", "chunked")), id="chunked"),
        pytest.param(head_of("GET /ws HTTP/1.1", ("Transfer-Encoding", "gzip")), id="gzip"),
        pytest.param(head_of() + b"more", id="more than a head"),
        pytest.param(head_of()[:-2], id="less than a head"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_malformed_head_is_refused_with_400(raw: bytes) -> None:
    """Whatever trio-websocket, wsproto or h11 would trip over or let pass ends here."""
    assert (refusal(raw).status, refusal(raw).code) == (400, "bad_request")


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a:1",
        "127.0.0.1:8000",
        "[::1]:8000",
        "[::ffff:1.2.3.4]",
        "xn--bcher-kva.example",
        "A_b",
    ],
)
def test_a_well_formed_host_is_taken(name: str) -> None:
    """Names, addresses and internationalised names, with a port or without."""
    assert parse_head(host(name), remote="", secure=False).header("host") == name


def test_a_body_is_no_matter_where_the_method_is_refused_anyway() -> None:
    """POST with a body gets as far as being told that only GET is allowed."""
    request = request_of("POST /ws HTTP/1.1", ("Content-Length", "12"))
    assert request.method == "POST"
    assert request_of("GET / HTTP/1.1", ("Content-Length", "0")).method == "GET"


def test_a_method_is_not_made_upper_case() -> None:
    """Methods differ by case, and `get` is not GET."""
    assert request_of("get /ws HTTP/1.1").method == "get"


@pytest.mark.parametrize(
    ("text", "decoded"), [("a+b", "a+b"), ("a%2Fb", "a/b"), ("%f0%9f%8d%b5", "🍵"), ("%25", "%")]
)
def test_a_path_is_decoded_with_a_plus_for_a_plus(text: str, decoded: str) -> None:
    """In a path only the percent-escapes mean something."""
    assert unquote_strictly(text) == decoded


@pytest.mark.parametrize("text", ["%", "%4", "%g0", "%ff", "%c3", "%ed%a0%80"])
def test_a_path_that_is_no_utf_8_is_refused(text: str) -> None:
    """Broken escapes are not passed through, and nothing is replaced."""
    with pytest.raises(HttpRefusal) as caught:
        unquote_strictly(text)
    assert caught.value.status == 400


def test_a_refusal_pickles_and_prints() -> None:
    """It is built from facts."""
    refused = HttpRefusal(405, "method_not_allowed", "use GET", (("Allow", "GET"),))
    again = pickle.loads(pickle.dumps(refused))
    assert str(again) == "405 method_not_allowed: use GET"
    assert again.headers == (("Allow", "GET"),)


GOOD = head_of(
    "GET /ws?session=abc HTTP/1.1",
    ("Origin", "http://rooms.example:8000"),
    ("Sec-WebSocket-Protocol", "roomactors.v1.json, bearer.YWJj"),
    ("Content-Length", "0"),
)

PIECES = [
    *(b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\x00", b"\xff", b"\xc3\xa9", b",", b"%", b"?"),
    *(
        b"xn--ab-99999999",
        b"xn--",
        b"[",
        b"]",
        b"HTTP/1.0",
        b"Host: b\r\n",
        b"chunked",
        b"\r\n\r\n",
    ),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"),
]

edits = st.lists(
    st.tuples(
        st.integers(0, len(GOOD)),
        st.integers(0, 6),
        st.sampled_from(PIECES) | st.binary(max_size=4),
    ),
    max_size=4,
)


def mutated(changes: list[tuple[int, int, bytes]]) -> bytes:
    """A good head, cut and pasted."""
    raw = GOOD
    for place, removed, added in changes:
        raw = raw[:place] + added + raw[place + removed :]
    return raw


def read(buffer: bytes) -> Request | int | None:
    """The request at the start of the buffer, the status of its refusal, or None for more."""
    try:
        end = head_end(buffer)
        return None if end is None else parse_head(buffer[:end], remote="", secure=False)
    except HttpRefusal as refused:
        return refused.status


@given(edits)
@example([(len(GOOD) - 2, 0, b"\r\n")])
def test_any_mutated_head_is_read_or_refused_and_nothing_else(
    changes: list[tuple[int, int, bytes]],
) -> None:
    """No input makes another exception, and what is read is what h11 reads."""
    raw = mutated(changes)
    request = read(raw)
    if not isinstance(request, Request):
        assert request in (None, 400, 431)
        return
    assert raw.startswith(request.raw)
    for _, value in request.headers:
        assert value.isascii()
        assert value.replace("\t", " ").isprintable()
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(request.raw)
    event = parser.next_event()
    assert isinstance(event, h11.Request)
    headers = [(name.encode(), value.encode()) for name, value in request.headers]
    assert headers == list(event.headers)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused_and_nothing_else(raw: bytes) -> None:
    """No junk makes another exception."""
    for junk in (raw, b"GET /" + raw, b"GET / HTTP/1.1\r\nHost: " + raw + b"\r\n\r\n"):
        result = read(junk)
        assert isinstance(result, Request) or result in (None, 400)
