"""A server that says on request what it holds: `python -m tests.real.observed SETTINGS`."""

from __future__ import annotations

import gc
import json
import sys
from functools import partial

import attrs
import trio

import roomactors


async def main(settings: dict[str, float]) -> None:
    """Serve on a free port; the first line is the port, then one line for each line that comes."""
    names = {field.name for field in attrs.fields(roomactors.ServerSettings)}
    server_settings = {name: value for name, value in settings.items() if name in names}
    room_settings = {name: value for name, value in settings.items() if name not in names}
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(
                roomactors.serve,
                port=0,
                settings=roomactors.ServerSettings(**server_settings),  # type: ignore[arg-type]
                hub_settings=roomactors.HubSettings(
                    room=roomactors.RoomSettings(**room_settings)  # type: ignore[arg-type]
                ),
            )
        )
        print(server.port, flush=True)
        while await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            gc.collect()
            seen = server.statistics()
            print(
                json.dumps(
                    {
                        "tasks": trio.lowlevel.current_statistics().tasks_living,
                        "sockets": seen.sockets,
                        "connections": seen.connections,
                        "rooms": sorted(server.hub.rooms()),
                        "members": len(server.hub.members()),
                    }
                ),
                flush=True,
            )
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, json.loads(sys.argv[1]))
