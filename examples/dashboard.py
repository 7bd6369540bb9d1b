"""A live dashboard: a program that measures itself, and pages that show it as it happens.

Run it: python dashboard.py [PORT [PAGE_PORT]]. Then open the page that it names.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

import trio

import roomactors

PAGE = Path(__file__).with_name("dashboard.html").read_text()
SECONDS = 1.0


async def publish(room: roomactors.RoomHandle, server: roomactors.Server) -> None:
    """Broadcast the numbers of each second, and an alert when they become unusual."""
    busy = False
    used, at = time.process_time(), time.perf_counter()
    while True:
        await trio.sleep(SECONDS)
        used, used_before = time.process_time(), used
        at, at_before = time.perf_counter(), at
        cpu = (used - used_before) / (at - at_before)
        numbers = {
            "cpu": round(100 * cpu, 1),
            "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "watching": server.statistics().connections,
        }
        # Who is behind does not need old numbers: the next ones come in a second.
        await room.broadcast({"numbers": numbers}, volatile=True)
        if (cpu > 0.9) != busy:
            busy = not busy
            # This one everybody must see, so it is an ordinary message.
            await room.broadcast({"alert": "busy" if busy else "calm again"})


async def show_page(page: bytes, stream: trio.SocketStream) -> None:
    """Answer any request with the page."""
    async with stream:
        request = b""
        while b"\r\n\r\n" not in request:
            if len(request) > 16_384 or not (data := await stream.receive_some()):
                return
            request += data
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(page)}\r\nConnection: close\r\n"
        await stream.send_all(f"{head}Content-Type: text/html; charset=utf-8\r\n\r\n".encode())
        await stream.send_all(page)


async def main(port: int = 8000, page_port: int = 8001) -> None:
    pages = await trio.open_tcp_listeners(page_port, host="127.0.0.1")
    page_url = f"http://127.0.0.1:{pages[0].socket.getsockname()[1]}"
    # The page comes from another port, which makes it another origin.
    settings = roomactors.ServerSettings(allowed_origins=(page_url,))
    async with trio.open_nursery() as nursery:
        serve = partial(roomactors.serve, port=port, settings=settings)
        server: roomactors.Server = await nursery.start(serve)
        page = PAGE.replace("PORT", str(server.port)).encode()
        nursery.start_soon(trio.serve_listeners, partial(show_page, page), pages)
        print(f"rooms on port {server.port}, the dashboard at {page_url}/", flush=True)
        await publish(server.hub.room("dashboard"), server)


if __name__ == "__main__":
    trio.run(main, *map(int, sys.argv[1:]))
