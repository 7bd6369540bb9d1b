"""The same server with roomactors.ConnectionManager. Run: python manager_trio_websocket.py"""

from __future__ import annotations

from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

import roomactors

Handlers = dict[str, trio.CancelScope]


async def chat(
    manager: roomactors.ConnectionManager, handlers: Handlers, request: WebSocketRequest
) -> None:
    _, room, name = request.path.split("/")
    websocket = await request.accept()
    with trio.CancelScope() as scope:
        try:
            await manager.add_connection(name, websocket)
        except roomactors.ConnectionIdTakenError:
            await websocket.aclose(code=1008, reason=f"{name} is here already")
            return
        handlers[name] = scope
        try:
            await manager.join_room(name, room)
            while True:
                await manager.broadcast_to_room(room, await websocket.get_message())
        except ConnectionClosed:
            pass
        finally:
            if handlers.get(name) is scope:
                del handlers[name]
            await manager.remove_connection(name, websocket)


async def main(
    port: int = 8000, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    handlers: Handlers = {}

    async def on_removed(name: str, reason: roomactors.RemovedReason) -> None:
        print(f"{name} is gone: {reason}")
        if name in handlers:
            handlers.pop(name).cancel()

    async with (
        roomactors.ConnectionManager(on_removed=on_removed) as manager,
        trio.open_nursery() as nursery,
    ):
        handler = partial(chat, manager, handlers)
        server = await nursery.start(serve_websocket, handler, "127.0.0.1", port, None)
        task_status.started(server.port)


if __name__ == "__main__":
    trio.run(main)
