"""A chat server that knows its users, says when people come and go, and ends in good order.

Run it: python chat_server.py [PORT]. Then open the page that it names, or run chat_client.py.
"""

from __future__ import annotations

import signal
import sys
from functools import partial

import trio

import roomactors

# Yours are in a database, hashed, and made with `secrets.token_urlsafe()`.
USERS = {"token-of-ada": "ada", "token-of-bob": "bob"}


async def admit(request: roomactors.AdmissionRequest) -> str | None:
    """Decide, before the WebSocket opens, who this is."""
    if request.token is None:
        return None  # a guest, for whose name nobody vouches
    user = USERS.get(request.token)
    if user is None:
        raise roomactors.AdmissionRefused(401, "nobody has this token")
    return user


async def main(
    port: int = 8000, task_status: trio.TaskStatus[int | None] = trio.TASK_STATUS_IGNORED
) -> None:
    async def came(member: str) -> None:
        print(f"{member} connected", flush=True)

    async def went(member: str) -> None:
        print(f"{member} is gone", flush=True)

    async def opened(room: str) -> None:
        print(f"somebody is in {room!r}", flush=True)
        await hub.room(room).broadcast(f"This is {room}. Be kind to each other.")

    async def emptied(room: str) -> None:
        print(f"nobody is in {room!r} any more", flush=True)

    hooks = roomactors.Hooks(
        connected=came, disconnected=went, room_occupied=opened, room_vacated=emptied
    )
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with roomactors.open_hub(hooks=hooks) as hub, trio.open_nursery() as nursery:
            serve = partial(roomactors.serve, port=port, hub=hub, admit=admit)
            server: roomactors.Server = await nursery.start(serve)
            print(f"chat at http://127.0.0.1:{server.port}/", flush=True)
            task_status.started(server.port)
            await anext(signals)
            print("telling everyone to come back later", flush=True)
            await server.drain()


if __name__ == "__main__":
    trio.run(main, *map(int, sys.argv[1:]))
