"""A manager over a hub that the program uses too: a listener sits in the room as a member."""

from __future__ import annotations

import trio

import roomactors


class Screen:
    """Stands for a WebSocket: anything with an async send."""

    async def send(self, message: str | bytes) -> None:
        print("on the screen:", message)


async def note_everything(hub: roomactors.Hub, task_status: trio.TaskStatus[None]) -> None:
    async with hub.room("tea").join("notes", info={"kind": "bot"}) as seat:
        task_status.started()
        async for event in seat:
            match event:
                case roomactors.MemberJoined(member=member):
                    print("joined:", member)
                case roomactors.Message(seq=seq, data=data):
                    print("noted:", seq, data)
                case roomactors.MemberLeft(member=member, reason=reason):
                    print("left:", member, reason)
                    return


async def main() -> None:
    async with roomactors.open_hub() as hub, trio.open_nursery() as nursery:
        await nursery.start(note_everything, hub)
        manager = roomactors.ConnectionManager(hub)
        await manager.add_connection("ada", Screen())
        await manager.join_room("ada", "tea")
        await manager.broadcast_to_room("tea", "the kettle is on")
        await hub.room("tea").broadcast({"cups": 2})
        print("here:", [view.member for view in await hub.room("tea").members()])
        await manager.leave_room("ada", "tea")


if __name__ == "__main__":
    trio.run(main)
