"""A chat client that knows nothing of roomactors: a WebSocket library and JSON are enough.

Run it: python chat_client.py ws://127.0.0.1:8000/ws tea Ada [TOKEN]. Ctrl-D ends it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url


async def main(url: str, room: str, name: str, token: str | None = None) -> None:
    headers = [] if token is None else [(b"Authorization", b"Bearer " + token.encode())]
    async with open_websocket_url(url, extra_headers=headers) as websocket:
        await say(websocket, type="join", room=room, info={"name": name}, ref="join")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, websocket, nursery.cancel_scope)
            while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
                await say(websocket, type="broadcast", room=room, data=line.rstrip("\n"))
            # `left` comes after everything that was said here before.
            await say(websocket, type="leave", room=room)


async def say(websocket: WebSocketConnection, **message: object) -> None:
    await websocket.send_message(json.dumps(message))


async def listen(websocket: WebSocketConnection, scope: trio.CancelScope) -> None:
    names: dict[str, str] = {}
    try:
        while True:
            frame = json.loads(await websocket.get_message())
            match frame["type"]:
                case "joined":
                    names = {entry["member"]: name_of(entry) for entry in frame["members"]}
                    print(f"* here are {', '.join(names.values())}", flush=True)
                case "member_joined":
                    names[frame["member"]] = name_of(frame)
                    print(f"* {name_of(frame)} came", flush=True)
                case "member_left":
                    print(f"* {names.pop(frame['member'], '?')} left", flush=True)
                case "message":
                    sender = names.get(frame["from"], "the server")
                    print(f"{sender}: {frame['data']}", flush=True)
                case "error":
                    print(f"* {frame['message']}", flush=True)
                case "left":
                    break
    except ConnectionClosed as closed:
        print(f"* the server ended the connection: {closed.reason}", flush=True)
    scope.cancel()


def name_of(entry: dict[str, Any]) -> str:
    name = (entry.get("info") or {}).get("name") or entry.get("user") or entry["member"]
    return str(name)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
