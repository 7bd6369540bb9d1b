"""The opening handshake, on both sides."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from roomactors.errors import CannotConnectError
from roomactors.server.handshake import (
    ConnectionClosed,
    open_websocket,
    upgrade_response,
)
from roomactors.server.head import HttpRefusal, Request, head_end, parse_head
from tests.server.heads import ACCEPT, UPGRADE, head_of, request_of


def unchecked(raw: bytes) -> Request:
    """A request that no front door has looked at."""
    return Request(
        method="GET",
        target="/ws",
        path="/ws",
        query={},
        headers=(),
        remote="",
        secure=False,
        raw=raw,
    )


async def test_the_example_of_the_rfc_is_answered_as_the_rfc_says() -> None:
    """Exactly one 101 with the accept key, and not a byte more."""
    response = await upgrade_response(request_of(), subprotocol=None)
    head, end, rest = response.partition(b"\r\n\r\n")
    assert (end, rest) == (b"\r\n\r\n", b"")
    status, *lines = head.split(b"\r\n")
    assert status.startswith(b"HTTP/1.1 101 ")
    assert sorted(line.lower() for line in lines) == [
        b"connection: upgrade",
        b"sec-websocket-accept: " + ACCEPT.lower(),
        b"upgrade: websocket",
    ]
    assert ACCEPT in head


@given(st.binary(min_size=16, max_size=16))
async def test_any_key_gets_its_own_accept_key(key: bytes) -> None:
    """The accept key is the RFC's function of the key that was sent."""
    text = b64encode(key).decode()
    request = request_of(
        "GET /ws HTTP/1.1", ("Sec-WebSocket-Key", text), without="Sec-WebSocket-Key"
    )
    response = await upgrade_response(request, subprotocol=None)
    digest = sha1((text + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    assert b64encode(digest) in response


async def test_the_subprotocol_is_the_chosen_one_only() -> None:
    """What else was offered, a token among it, is not sent back."""
    request = request_of(
        "GET /ws HTTP/1.1", ("Sec-WebSocket-Protocol", "roomactors.v1.json, bearer.abc")
    )
    chosen = await upgrade_response(request, subprotocol="roomactors.v1.json")
    assert b"\r\nsec-websocket-protocol: roomactors.v1.json\r\n" in chosen.lower()
    assert b"bearer" not in chosen
    assert (
        b"sec-websocket-protocol" not in (await upgrade_response(request, subprotocol=None)).lower()
    )


async def test_no_extension_is_agreed_to() -> None:
    """Browsers offer compression; none is taken."""
    request = request_of("GET /ws HTTP/1.1", ("Sec-WebSocket-Extensions", "permessage-deflate"))
    assert b"extensions" not in (await upgrade_response(request, subprotocol=None)).lower()


async def test_a_head_of_the_longest_size_is_accepted() -> None:
    """What is read in several pieces is the same request."""
    request = request_of("GET /ws HTTP/1.1", ("X", "x" * (8192 - len(head_of()) - 5)))
    assert len(request.raw) == 8192
    assert ACCEPT in await upgrade_response(request, subprotocol=None)


HOSTILE = [
    pytest.param(head_of(base={**UPGRADE, "Host": "caf\xe9"}), id="K1"),
    pytest.param(head_of(base={**UPGRADE, "Host": "xn--ab-99999999"}), id="K2"),
    pytest.param(head_of(base={**UPGRADE, "Connection": "Upgrade, \xe9"}), id="K3 Connection"),
    pytest.param(head_of("GET / HTTP/1.1", ("Sec-WebSocket-Protocol", "\xe9")), id="K3 Protocol"),
    pytest.param(
        head_of("GET / HTTP/1.1", ("Sec-WebSocket-Extensions", "\xe9")), id="K3 Extensions"
    ),
    pytest.param(head_of("GET / HTTP/1.1", base={"Host": "a"}), id="K4 plain HTTP"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01", id="K4 TLS"),
    pytest.param(b"GET /", id="K4 half a line"),
    pytest.param(head_of()[:-2], id="K7 all but the blank line"),
    pytest.param(b"", id="nothing"),
    pytest.param(b"\r\n\r\n", id="blank lines"),
    pytest.param(head_of("POST /ws HTTP/1.1"), id="POST"),
    pytest.param(head_of(without="Host"), id="no Host"),
    pytest.param(head_of(without="Upgrade"), id="no Upgrade"),
    pytest.param(head_of(without="Connection"), id="no Connection"),
    pytest.param(head_of(without="Sec-WebSocket-Key"), id="no key"),
    pytest.param(head_of(without="Sec-WebSocket-Version"), id="no version"),
    pytest.param(head_of("GET / HTTP/1.1", ("Sec-WebSocket-Version", "8")), id="version 8"),
]


@pytest.mark.parametrize("raw", HOSTILE)
async def test_what_trio_websocket_trips_over_is_a_refusal(raw: bytes) -> None:
    """Even past the front door no exception of its tasks gets out, and nothing hangs."""
    with pytest.raises(HttpRefusal) as caught:
        await upgrade_response(unchecked(raw), subprotocol=None)
    assert caught.value.status == 400


async def test_a_subprotocol_that_was_not_offered_is_a_refusal() -> None:
    """wsproto will not say it, and says so by an exception."""
    with pytest.raises(HttpRefusal):
        await upgrade_response(request_of(), subprotocol="roomactors.v1.json")


EDITS = st.tuples(
    st.integers(0, len(head_of())),
    st.integers(0, 5),
    st.sampled_from([b"\xff", b"xn--99999999", b"\r\n\r\n", b"\n", b" ", b"\x00", b","])
    | st.binary(max_size=3),
)


@given(st.lists(EDITS, max_size=4))
async def test_any_mutated_head_is_answered_or_refused_and_nothing_else(
    edits: list[tuple[int, int, bytes]],
) -> None:
    """No input of trio-websocket's makes another exception than a refusal."""
    raw = head_of()
    for place, removed, added in edits:
        raw = raw[:place] + added + raw[place + removed :]
    try:
        response = await upgrade_response(unchecked(raw), subprotocol=None)
    except HttpRefusal as refused:
        response = b"HTTP/1.1 101 refused" if refused.status == 400 else b""
    assert response.startswith(b"HTTP/1.1 101 ")


async def test_a_cancelled_handshake_leaves_nothing_running() -> None:
    """It gives way at its first checkpoint, and its tasks are gone."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    with trio.CancelScope() as scope:
        scope.cancel()
        await upgrade_response(request_of(), subprotocol=None)
    assert scope.cancelled_caught
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_an_accepted_handshake_leaves_nothing_running() -> None:
    """trio-websocket's reader has ended when the answer is there."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    await upgrade_response(request_of(), subprotocol=None)
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def read_head(stream: trio.abc.Stream) -> Request:
    """A request head as a server reads it."""
    buffer = bytearray()
    while head_end(buffer) is None:
        buffer += await stream.receive_some()
    return parse_head(bytes(buffer), remote="", secure=False)


async def accept(stream: trio.abc.Stream, subprotocol: str | None = None) -> Request:
    """Let a client in."""
    request = await read_head(stream)
    await stream.send_all(await upgrade_response(request, subprotocol=subprotocol))
    return request


async def refuse(stream: trio.abc.Stream, response: bytes) -> None:
    """Read a client's request and answer it with these bytes, then hang up."""
    await read_head(stream)
    await stream.send_all(response)
    await stream.aclose()


async def opens_with(
    response: bytes, url: str = "ws://rooms.example/ws?session=SECRET"
) -> CannotConnectError:
    """How opening fails if the server answers with these bytes."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse, theirs, response)
        with pytest.raises(CannotConnectError) as caught:
            async with open_websocket(url, stream=ours):
                pytest.fail("it opened")
    return caught.value


async def test_a_client_says_what_it_was_told_to_say() -> None:
    """Target, host, headers and subprotocols reach the server, and frames come back."""
    ours, theirs = memory_stream_pair()
    seen: list[Request] = []

    async def serve() -> None:
        seen.append(await accept(theirs, "b"))
        await theirs.send_all(b"\x81\x02hi")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with open_websocket(
            "ws://rooms.example:8000/ws?x=1",
            headers=[("Authorization", "Bearer t")],
            subprotocols=["a", "b"],
            stream=ours,
            close_seconds=0,
        ) as connection:
            assert connection.subprotocol == "b"
            assert await connection.get_message() == "hi"
    (request,) = seen
    assert request.target == "/ws?x=1"
    assert request.header("host") == "rooms.example:8000"
    assert request.header("authorization") == "Bearer t"
    assert request.header("sec-websocket-protocol") == "a, b"


@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        ("ws://a.example", "a.example", "/"),
        ("ws://a.example:80/ws", "a.example", "/ws"),
        ("wss://a.example:443/ws", "a.example", "/ws"),
        ("wss://a.example:80/ws", "a.example:80", "/ws"),
        ("ws://[::1]:8000/ws?a", "[::1]:8000", "/ws?a"),
    ],
)
async def test_the_host_header_has_the_port_unless_it_is_the_schemes(
    url: str, host: str, target: str
) -> None:
    """What the server compares with Origin is what a browser would send."""
    ours, theirs = memory_stream_pair()
    requests: list[Request] = []

    async def serve() -> None:
        requests.append(await accept(theirs))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with open_websocket(url, stream=ours, close_seconds=0):
            pass
    assert [(r.header("host"), r.target) for r in requests] == [(host, target)]


@pytest.mark.parametrize(
    "url", ["http://a/ws", "ws:///ws", "a.example", "", "ws://a:port/", "ws://a:99999/"]
)
async def test_a_url_of_something_else_is_a_value_error(url: str) -> None:
    """It is the caller's mistake, not the network's."""
    with pytest.raises(ValueError, match=r"WebSocket URL|[Pp]ort"):
        async with open_websocket(url):
            pytest.fail("it opened")


async def test_a_refusal_has_the_status_and_the_servers_own_sentence() -> None:
    """Our server's JSON is read; the URL is shown without its query."""
    body = b'{"code":"unauthorized","message":"who are you?"}'
    error = await opens_with(
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    assert error.status == 401
    assert str(error) == (
        "cannot connect to ws://rooms.example/ws: HTTP status 401 (Unauthorized): who are you?"
    )
    assert isinstance(error, ConnectionError)


@pytest.mark.parametrize(
    ("response", "status", "problem"),
    [
        (
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\n<p>..",
            502,
            "HTTP status 502 (Bad Gateway)",
        ),
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n\xff\xff",
            404,
            "HTTP status 404 (Not Found)",
        ),
        (b"HTTP/1.1 499 No\r\nContent-Length: 0\r\n\r\n", 499, "HTTP status 499 (refused)"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "HTTP status 200 (OK)"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", None, "the server does not speak WebSocket"),
        (
            b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            None,
            "the server does not speak WebSocket",
        ),
        (b"HTTP/1.1 101 Ye", None, "the server hung up"),
        (b"", None, "the server hung up"),
    ],
)
async def test_every_way_to_be_turned_away_is_one_error(
    response: bytes, status: int | None, problem: str
) -> None:
    """What trio-websocket raises here, in its nursery, or never, becomes one exception."""
    error = await opens_with(response)
    assert (error.status, error.problem) == (status, problem)


async def test_a_server_that_does_not_answer_is_given_up_on(autojump_clock: MockClock) -> None:
    """Opening has a deadline, and the stream is closed then."""
    ours, theirs = memory_stream_pair()
    start = trio.current_time()
    with pytest.raises(CannotConnectError, match="did not answer in time"):
        async with open_websocket("ws://a/ws", stream=ours, connect_seconds=7):
            pytest.fail("it opened")
    assert trio.current_time() == start + 7
    await read_head(theirs)
    assert await theirs.receive_some() == b""


async def test_the_deadline_of_opening_does_not_end_an_open_connection(
    autojump_clock: MockClock,
) -> None:
    """A connection lives as long as its block, however long ago it was opened."""
    ours, theirs = memory_stream_pair()

    async def serve() -> None:
        await accept(theirs)
        await trio.sleep(100)
        await theirs.send_all(b"\x81\x02hi")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with open_websocket(
            "ws://a/ws", stream=ours, connect_seconds=7, close_seconds=0
        ) as connection:
            assert await connection.get_message() == "hi"


async def test_a_port_where_nobody_listens_is_an_error_with_its_reason() -> None:
    """The system's own words are passed on."""
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(CannotConnectError) as caught:
            async with open_websocket(f"ws://127.0.0.1:{port}/ws"):
                pytest.fail("it opened")
    assert caught.value.status is None
    assert "127.0.0.1" in caught.value.problem or "refused" in caught.value.problem


async def test_a_client_connects_over_tcp() -> None:
    """Without a stream of the caller's it opens its own."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]

    async def serve(stream: trio.SocketStream) -> None:
        await accept(stream)
        await stream.send_all(b"\x81\x02hi\x88\x00")
        await stream.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        async with open_websocket(f"ws://127.0.0.1:{port}/ws") as connection:
            assert await connection.get_message() == "hi"
        nursery.cancel_scope.cancel()


async def test_a_wss_url_is_opened_with_tls() -> None:
    """A server without TLS is no server for wss."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    greetings: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        greetings.append(bytes(await stream.receive_some(1)))
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        with pytest.raises(CannotConnectError) as caught:
            async with open_websocket(f"wss://127.0.0.1:{port}/ws"):
                pytest.fail("it opened")
        nursery.cancel_scope.cancel()
    assert greetings == [b"\x16"]
    assert "SSL" in caught.value.problem or "record" in caught.value.problem.lower()


async def test_what_the_block_raises_leaves_it_as_it_is() -> None:
    """No group is put around a caller's exception."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept, theirs)
        with pytest.raises(KeyError, match="mine"):
            async with open_websocket("ws://a/ws", stream=ours, close_seconds=0):
                raise KeyError("mine")


async def test_a_cancelled_block_closes_the_stream_and_is_cancelled() -> None:
    """Cancellation goes through to the scope that asked for it."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept, theirs)
        with trio.CancelScope() as scope:
            async with open_websocket("ws://a/ws", stream=ours):
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
    assert await theirs.receive_some() in (b"", b"\x88")


async def test_opening_can_be_cancelled() -> None:
    """The stream is closed, and nothing else is raised."""
    ours, _ = memory_stream_pair()
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_websocket("ws://a/ws", stream=ours):
            pytest.fail("it opened")
    assert scope.cancelled_caught
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"x")


async def test_leaving_waits_no_longer_than_it_was_told(autojump_clock: MockClock) -> None:
    """A server that does not answer the close is left behind."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept, theirs)
        async with open_websocket("ws://a/ws", stream=ours, close_seconds=3):
            start = trio.current_time()
    assert trio.current_time() == start + 3


async def test_a_ping_that_crosses_our_close_does_not_cost_the_wait(
    autojump_clock: MockClock,
) -> None:
    """K5 on the client's side: trio-websocket's reader dies of it, and we are done at once."""
    ours, theirs = memory_stream_pair()

    async def serve() -> None:
        await accept(theirs)
        while await theirs.receive_some(1) != b"\x88":
            pass
        await theirs.send_all(b"\x89\x00")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with open_websocket("ws://a/ws", stream=ours, close_seconds=3):
            start = trio.current_time()
    assert trio.current_time() == start


@pytest.mark.parametrize("ending", [b"", b"\x88\x02\x0f\xa9", b"\xff\xff\xff"])
async def test_a_connection_that_ends_raises_connection_closed(ending: bytes) -> None:
    """By a cut, by a close frame, or by bytes that are no frame."""
    ours, theirs = memory_stream_pair()

    async def serve() -> None:
        await accept(theirs)
        await theirs.send_all(ending)
        await theirs.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with open_websocket("ws://a/ws", stream=ours) as connection:
            with pytest.raises(ConnectionClosed):
                await connection.get_message()
            await wait_all_tasks_blocked()
            with pytest.raises(ConnectionClosed):
                await connection.send_message("too late")


async def test_a_message_over_the_limit_ends_the_connection() -> None:
    """A server cannot fill a client's memory."""
    ours, theirs = memory_stream_pair()

    async def serve() -> None:
        await accept(theirs)
        await theirs.send_all(b"\x81\x05hello")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with open_websocket("ws://a/ws", stream=ours, max_message_bytes=4) as connection:
            with pytest.raises(ConnectionClosed):
                await connection.get_message()
