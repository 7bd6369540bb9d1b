"""The page on replacing a connection manager: each of its programs runs here, over real sockets.

Only the WebSocket of Starlette is driven as an ASGI server would drive it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest
import trio
from starlette.types import Message
from trio.testing import wait_all_tasks_blocked
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    open_websocket_url,
    wrap_client_stream,
)

from examples import manager_and_hub, manager_by_hand, manager_starlette, manager_trio_websocket

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/howto/replace-a-connection-manager.md"

INCLUDED = re.compile(r"<!-- include: (\S+) -->\n```python\n(.*?)```", re.DOTALL)


def test_the_page_shows_the_programs_as_they_are() -> None:
    """Each snippet is a whole file of the examples, and no Python stands there that is none."""
    text = PAGE.read_text(encoding="utf-8")
    shown = INCLUDED.findall(text)
    assert [path for path, _ in shown] == [
        f"examples/{name}.py"
        for name in (
            "manager_by_hand",
            "manager_trio_websocket",
            "manager_starlette",
            "manager_and_hub",
        )
    ]
    for path, program in shown:
        assert program == (ROOT / path).read_text(encoding="utf-8"), path
    assert text.count("```") == 2 * len(shown)


# trio-websocket


class Program(Protocol):
    """A server that is started in a nursery and says on which port."""

    async def __call__(self, port: int, task_status: trio.TaskStatus[int]) -> None: ...


@asynccontextmanager
async def served(program: Program) -> AsyncGenerator[str, None]:
    """Run one of the servers, and give its URL."""
    async with trio.open_nursery() as nursery:
        port = await nursery.start(program, 0)
        with trio.fail_after(30):
            yield f"ws://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def refused_client(url: str) -> AsyncGenerator[WebSocketConnection, None]:
    """A client that the server closes; trio-websocket would leave its TCP connection open."""
    _, _, address, *path = url.split("/")
    host, port = address.split(":")
    async with (
        await trio.open_tcp_stream(host, int(port)) as stream,
        trio.open_nursery() as nursery,
    ):
        yield await wrap_client_stream(nursery, stream, address, "/" + "/".join(path))
        nursery.cancel_scope.cancel()


async def hear(websocket: WebSocketConnection, count: int) -> list[str | bytes]:
    """The next messages."""
    return [await websocket.get_message() for _ in range(count)]


@pytest.mark.parametrize("example", [manager_by_hand, manager_trio_websocket])
async def test_clients_hear_each_other(example: object) -> None:
    """Before the move and after it: text and binary, in one room and not in another."""
    program: Program = example.main  # type: ignore[attr-defined]
    async with (
        served(program) as url,
        open_websocket_url(f"{url}/tea/ada") as ada,
        open_websocket_url(f"{url}/coffee/cleo") as cleo,
    ):
        await ada.send_message("one")
        assert await hear(ada, 1) == ["one"]
        async with open_websocket_url(f"{url}/tea/bob") as bob:
            await bob.send_message(b"\0two")
            assert await hear(bob, 1) == [b"\0two"]
            assert await hear(ada, 1) == [b"\0two"]
        await ada.send_message("three")
        assert await hear(ada, 1) == ["three"]
        await cleo.send_message("four")
        assert await hear(cleo, 1) == ["four"]


async def test_a_name_is_one_client_s_until_it_goes() -> None:
    """The second is told so and closed; when the first has gone, the name is free."""
    async with served(manager_trio_websocket.main) as url:
        async with open_websocket_url(f"{url}/tea/ada") as first:
            await first.send_message("here")
            assert await hear(first, 1) == ["here"]
            async with refused_client(f"{url}/tea/ada") as second:
                with pytest.raises(ConnectionClosed) as closed:
                    await second.get_message()
                assert closed.value.reason is not None
                assert closed.value.reason.code == 1008
                assert closed.value.reason.reason == "ada is here already"
            await first.send_message("still here")
            assert await hear(first, 1) == ["still here"]
        async with open_websocket_url(f"{url}/tea/ada") as third:
            await third.send_message("back")
            assert await hear(third, 1) == ["back"]


async def test_thousands_of_messages_reach_all_in_the_same_order() -> None:
    """Three clients send as fast as they can; each hears everything, as all others do."""
    heard: dict[str, list[str | bytes]] = {}
    each = 300

    async with served(manager_trio_websocket.main) as url:

        async def client(name: str, websocket: WebSocketConnection) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(say, name, websocket)
                heard[name] = await hear(websocket, 3 * each)

        async def say(name: str, websocket: WebSocketConnection) -> None:
            for number in range(each):
                await websocket.send_message(f"{name} {number}")

        async with AsyncExitStack() as stack:
            clients: dict[str, WebSocketConnection] = {}
            for name in ("ada", "bob", "cleo"):
                websocket = await stack.enter_async_context(open_websocket_url(f"{url}/tea/{name}"))
                clients[name] = websocket
                # Who hears itself is in.
                await websocket.send_message("here")
                for other in clients.values():
                    assert await hear(other, 1) == ["here"]
            async with trio.open_nursery() as nursery:
                for name, websocket in clients.items():
                    nursery.start_soon(client, name, websocket)
    assert heard["ada"] == heard["bob"] == heard["cleo"]
    for name in heard:
        mine = [message for message in heard["ada"] if str(message).startswith(name)]
        assert mine == [f"{name} {number}" for number in range(each)]


# Starlette


class AsgiClient:
    """One WebSocket of an ASGI application, from the server's side."""

    def __init__(self, nursery: trio.Nursery, path: str) -> None:
        self._to_app, self._app_receives = trio.open_memory_channel[Message](10)
        self._app_sends, self._from_app = trio.open_memory_channel[Message](10)
        scope = {
            "type": "websocket",
            "path": path,
            "headers": [],
            "query_string": b"",
            "subprotocols": [],
        }
        nursery.start_soon(
            manager_starlette.app, scope, self._app_receives.receive, self._app_sends.send
        )

    async def open(self) -> None:
        await self._to_app.send({"type": "websocket.connect"})
        assert (await self.heard())["type"] == "websocket.accept"

    async def say(self, text: str) -> None:
        await self._to_app.send({"type": "websocket.receive", "text": text})

    async def close(self) -> None:
        await self._to_app.send({"type": "websocket.disconnect", "code": 1000})

    async def heard(self) -> Message:
        return await self._from_app.receive()


@asynccontextmanager
async def lifespan() -> AsyncGenerator[None, None]:
    """Start the application and stop it, as an ASGI server does."""
    to_app, app_receives = trio.open_memory_channel[Message](1)
    app_sends, from_app = trio.open_memory_channel[Message](1)
    async with trio.open_nursery() as nursery:
        scope = {"type": "lifespan", "state": {}}
        nursery.start_soon(manager_starlette.app, scope, app_receives.receive, app_sends.send)
        await to_app.send({"type": "lifespan.startup"})
        assert await from_app.receive() == {"type": "lifespan.startup.complete"}
        yield
        await to_app.send({"type": "lifespan.shutdown"})
        assert await from_app.receive() == {"type": "lifespan.shutdown.complete"}


async def test_starlette_s_websockets_are_sent_text_and_binary() -> None:
    """The real `starlette.websockets.WebSocket`, in the application of the page."""
    async with lifespan(), trio.open_nursery() as nursery:
        manager = manager_starlette.app.state.manager
        ada, bob = AsgiClient(nursery, "/tea/ada"), AsgiClient(nursery, "/tea/bob")
        await ada.open()
        await bob.open()
        await wait_all_tasks_blocked()
        assert manager.get_room_connections("tea") == {"ada", "bob"}
        await ada.say("hello")
        await wait_all_tasks_blocked()
        await manager.broadcast_to_all(b"\0binary")
        for client in (ada, bob):
            assert await client.heard() == {"type": "websocket.send", "text": "ada: hello"}
            assert await client.heard() == {"type": "websocket.send", "bytes": b"\0binary"}
        await ada.close()
        await wait_all_tasks_blocked()
        assert manager.get_room_connections("tea") == {"bob"}
        await bob.close()


# A hub


async def test_a_program_and_its_manager_share_a_room(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The listener sees the connection come, its messages, and it going."""
    await manager_and_hub.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("on the screen")] == [
        "on the screen: the kettle is on",
        'on the screen: {"cups":2}',
    ]
    assert [line for line in lines if not line.startswith("on the screen")] == [
        "joined: ada",
        "noted: 3 the kettle is on",
        "noted: 4 {'cups': 2}",
        "here: ['notes', 'ada']",
        "left: ada left",
    ]
