"""A chat server with the manager that everybody writes. Run: python manager_by_hand.py"""

from __future__ import annotations

from collections import defaultdict
from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket


class Manager:
    def __init__(self) -> None:
        self.connections: dict[str, WebSocketConnection] = {}
        self.rooms: defaultdict[str, set[str]] = defaultdict(set)

    def add_connection(self, name: str, websocket: WebSocketConnection) -> None:
        self.connections[name] = websocket

    def remove_connection(self, name: str) -> None:
        del self.connections[name]
        for members in self.rooms.values():
            members.discard(name)

    def join_room(self, name: str, room: str) -> None:
        self.rooms[room].add(name)

    async def broadcast_to_room(self, room: str, message: str | bytes) -> None:
        for name in self.rooms[room]:
            await self.connections[name].send_message(message)


async def chat(manager: Manager, request: WebSocketRequest) -> None:
    _, room, name = request.path.split("/")
    websocket = await request.accept()
    manager.add_connection(name, websocket)
    try:
        manager.join_room(name, room)
        while True:
            await manager.broadcast_to_room(room, await websocket.get_message())
    except ConnectionClosed:
        pass
    finally:
        manager.remove_connection(name)


async def main(
    port: int = 8000, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    async with trio.open_nursery() as nursery:
        handler = partial(chat, Manager())
        server = await nursery.start(serve_websocket, handler, "127.0.0.1", port, None)
        task_status.started(server.port)


if __name__ == "__main__":
    trio.run(main)
