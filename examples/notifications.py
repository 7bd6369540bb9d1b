"""Notifications: each user has a room of their own, whatever devices they are connected with.

Run it: python notifications.py [PORT]. Users connect with their token and need to do nothing
more; a line "ada: your parcel is here" on stdin goes to ada, "*: closing at six" to everyone.
"""

from __future__ import annotations

import secrets
import sys
from collections import defaultdict
from contextlib import suppress
from functools import partial

import trio

import roomactors

USERS = {"token-of-ada": "ada", "token-of-bob": "bob"}
ONLINE = "online"


async def admit(request: roomactors.AdmissionRequest) -> str:
    """Only users come in."""
    user = USERS.get(request.token or "")
    if user is None:
        raise roomactors.AdmissionRefused(401, "this needs the token of a user")
    return user


def new_room() -> str:
    # Whoever knows the name of a room may join it, so these names cannot be guessed.
    return f"notifications-{secrets.token_urlsafe(16)}"


async def sort_in(
    hub: roomactors.Hub,
    rooms: defaultdict[str, str],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Take a seat among those who are online, and put who comes there into their user's room."""
    async with hub.room(ONLINE).join("sorter", info={"name": "Notifications"}) as seat:
        task_status.started()
        async for event in seat:
            if isinstance(event, roomactors.MemberJoined) and event.user is not None:
                with suppress(roomactors.NoSuchMemberError):  # it may be gone again
                    await hub.join(event.member, rooms[event.user])
                    print(f"{event.user} is here", flush=True)


async def main(port: int = 8000) -> None:
    rooms: defaultdict[str, str] = defaultdict(new_room)

    async def came(member: str) -> None:
        # Gone again already, or the sorter, who took its seat by itself.
        with suppress(roomactors.NoSuchMemberError):
            await hub.join(member, ONLINE)

    hooks = roomactors.Hooks(connected=came)
    async with roomactors.open_hub(hooks=hooks) as hub, trio.open_nursery() as nursery:
        await nursery.start(sort_in, hub, rooms)
        serve = partial(roomactors.serve, port=port, hub=hub, admit=admit)
        server: roomactors.Server = await nursery.start(serve)
        print(f"notifications at ws://127.0.0.1:{server.port}/ws", flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            user, _, text = line.strip().partition(": ")
            if user == "*":
                await hub.broadcast({"notification": text})
            elif user in USERS.values():
                await hub.room(rooms[user]).broadcast({"notification": text})
            else:
                print(f"there is no user {user!r}", flush=True)
        await server.drain()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, *map(int, sys.argv[1:]))
