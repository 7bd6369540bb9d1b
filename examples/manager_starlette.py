"""A Starlette application. Run: hypercorn --worker-class trio manager_starlette:app"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

import roomactors


async def chat(websocket: WebSocket) -> None:
    manager: roomactors.ConnectionManager = websocket.app.state.manager
    room, name = websocket.path_params["room"], websocket.path_params["name"]
    await websocket.accept()
    await manager.add_connection(name, websocket)
    try:
        await manager.join_room(name, room)
        async for message in websocket.iter_text():
            await manager.broadcast_to_room(room, f"{name}: {message}")
    finally:
        await manager.remove_connection(name, websocket)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None, None]:
    async with roomactors.ConnectionManager() as manager:
        app.state.manager = manager
        yield


app = Starlette(routes=[WebSocketRoute("/{room}/{name}", chat)], lifespan=lifespan)
