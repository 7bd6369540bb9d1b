"""Notifications: each user has a room of their own, whatever devices they are connected with.

Run it: python notifications.py [PORT]. Users connect with their token and need to do nothing
more; a line "ada: your parcel is here" on stdin goes to ada, "*: closing at six" to everyone.
"""

from __future__ import annotations

import secrets
import sys
from contextlib import suppress
from functools import partial

import trio

import roomactors

USERS = {"token-of-ada": "ada", "token-of-bob": "bob"}

# Whoever knows the name of a room may join it, so these names cannot be guessed.
ROOMS = {user: f"notifications-{secrets.token_urlsafe(16)}" for user in USERS.values()}


async def admit(request: roomactors.AdmissionRequest) -> str:
    """Only users come in."""
    user = USERS.get(request.token or "")
    if user is None:
        raise roomactors.AdmissionRefused(401, "this needs the token of a user")
    return user


async def main(port: int = 8000) -> None:
    async def came(member: str) -> None:
        user = hub.user_of(member)
        if user is not None:
            # It may be gone again already, or speak a protocol of one room.
            with suppress(roomactors.RefusedError):
                await hub.join(member, ROOMS[user])
                print(f"{user} is here", flush=True)

    hooks = roomactors.Hooks(connected=came)
    async with roomactors.open_hub(hooks=hooks) as hub, trio.open_nursery() as nursery:
        serve = partial(roomactors.serve, port=port, hub=hub, admit=admit)
        server: roomactors.Server = await nursery.start(serve)
        print(f"notifications at ws://127.0.0.1:{server.port}/ws", flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            user, _, text = line.strip().partition(": ")
            if user == "*":
                await hub.broadcast({"notification": text})
            elif user in ROOMS:
                await hub.room(ROOMS[user]).broadcast({"notification": text})
            else:
                print(f"there is no user {user!r}", flush=True)
        await server.drain()


if __name__ == "__main__":
    trio.run(main, *map(int, sys.argv[1:]))
