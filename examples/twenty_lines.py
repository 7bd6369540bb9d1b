import trio

import roomactors


async def main(port: int = 8000) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(roomactors.serve, "127.0.0.1", port)
        print(f"Open http://127.0.0.1:{server.port}/#tea and say something.", flush=True)
        async with server.hub.room("tea").join("parrot", info={"name": "Parrot"}) as seat:
            async for event in seat:
                match event:
                    case roomactors.MemberJoined():
                        await seat.broadcast("Hello! I repeat what you say.", echo=False)
                    case roomactors.Message(data=str(words)):
                        await seat.broadcast(f"{words}, {words}!", echo=False)


if __name__ == "__main__":
    trio.run(main)
