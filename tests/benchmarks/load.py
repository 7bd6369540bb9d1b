"""The load generator: one job, in a process of its own, against one server.

`python -m tests.benchmarks.load JOB` where JOB is `attrs.asdict` of a `Job` as JSON. It writes JSON
objects, one a line: `{"ready": true}` when a job that is steered from outside waits for a line on
its standard input, and at the end `{"result": {…}}` or `{"fault": "…"}`. Each job is bounded in
time and ends by itself.
"""

import contextlib
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import time
from array import array
from collections.abc import Callable
from typing import Final, Literal, final

import attrs

from tests.benchmarks.check import FaultError, OrderPerSender
from tests.benchmarks.crowd import Codec, Crowd, Member, Room
from tests.benchmarks.frames import client_frame, message
from tests.benchmarks.processes import (
    cpu_seconds,
    memory_kib,
    open_files,
    raise_file_limit,
    wait_until_at_rest,
)
from tests.benchmarks.quantiles import median, percentile

Result = dict[str, float]
Kind = Literal["fanout", "ahead", "stalled", "pairs", "busy", "probe"]

LONGEST_SECONDS: Final = 900  # of one job; then the kernel's alarm ends the process
_SAMPLE_SECONDS: Final = 0.25  # between two looks at the server's memory
_WARM_UP: Final = 20  # messages before anything is timed
_TIMESTAMPS: Final = 35  # SO_TIMESTAMPNS and SCM_TIMESTAMPNS of Linux; `socket` does not name them


@final
@attrs.frozen(kw_only=True)
class Job:
    """What one load process does."""

    kind: Kind
    port: int  # of the server, on 127.0.0.1
    pid: int  # of the server
    one_order: bool  # whether it gives all members of a room the same order
    codec: Codec = "raw"
    rooms: int = 1
    members: int = 2  # of each room
    senders: int = 1  # of each room, where they pipeline
    window: int = 1  # messages in flight of each sender
    size: int = 128  # bytes of a message
    seconds: float = 3.0  # of the timed part, about
    megabytes: int = 0  # of messages that go to the room, instead of seconds
    stall: bool = False  # whether one member stops reading


def _milliseconds(values: "array[float]") -> Result:
    ranked = sorted(values)
    return {
        "p50_ms": percentile(ranked, 50) * 1e3,
        "p99_ms": percentile(ranked, 99) * 1e3,
    }


def _open(job: Job) -> tuple[Crowd, list[Room]]:
    crowd = Crowd(job.port, job.size, one_order=job.one_order)
    return crowd, crowd.open(job.rooms, job.members, job.codec, "room")


def _one_by_one(crowd: Crowd, room: Room, more: Callable[[], bool]) -> "array[float]":
    """Send a message each time that all have the last one; return how long each took to all."""
    times = array("d")
    while more():
        start = time.perf_counter()
        crowd.publish(room.members[0])
        crowd.receive_all([room])
        times.append(time.perf_counter() - start)
    return times


def _times(count: int) -> Callable[[], bool]:
    left = iter(range(count))
    return lambda: next(left, None) is not None


def _for_seconds(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


def fanout(job: Job) -> Result:
    """One message in flight: the next leaves when every member has the last one."""
    crowd, rooms = _open(job)
    _one_by_one(crowd, rooms[0], _times(_WARM_UP))
    wait_until_at_rest(job.pid)
    deliveries, cpu, wall = crowd.deliveries, cpu_seconds(job.pid), time.perf_counter()
    times = _one_by_one(crowd, rooms[0], _for_seconds(job.seconds))
    wall = time.perf_counter() - wall
    wait_until_at_rest(job.pid)
    cpu = cpu_seconds(job.pid) - cpu
    deliveries = crowd.deliveries - deliveries
    crowd.finish(rooms)
    crowd.close()
    return {"rate": deliveries / cpu, "wall_rate": deliveries / wall, **_milliseconds(times)}


@final
class _Pipeline:
    """Senders that keep a number of messages in flight each, as their own echoes come back."""

    def __init__(self, crowd: Crowd, senders: list[Member], window: int) -> None:
        self._crowd = crowd
        self._window = window
        self._senders = senders
        self._files = {id(member) for member in senders}
        self.left = 0  # messages that may still be sent

    def run(self, messages: int) -> None:
        """Send so many, and wait until they are delivered."""
        self.fill(messages)
        rooms = list({id(sender.room): sender.room for sender in self._senders}.values())
        self._crowd.pump_until(
            lambda: not self.left and self._crowd.deliveries >= self._crowd.due(rooms),
            self.delivered,
        )

    def fill(self, messages: int) -> None:
        """Begin to send so many."""
        self.left = messages
        for sender in self._senders:
            self.delivered(sender, 0)

    def delivered(self, member: Member, count: int) -> None:
        """Send again what a sender has got back."""
        if self.left and id(member) in self._files:
            room, sender = member.room, member.number
            flying = room.sent.get(sender, 0) - room.checker.seen(member.cursor, sender)
            more = min(self._window - flying, self.left)
            if more > 0:
                self.left -= more
                self._crowd.publish(member, more)


def ahead(job: Job) -> Result:
    """Senders ahead of the server: each keeps `window` messages in flight."""
    crowd, rooms = _open(job)
    pipeline = _Pipeline(crowd, rooms[0].members[: job.senders], job.window)
    # How many messages fill the time is found by trying: the servers differ by a factor of a
    # hundred, and one that is slow must not be left with minutes of work.
    messages, took = 8, 0.0
    while took < job.seconds / 8:
        messages *= 2
        start = time.perf_counter()
        pipeline.run(messages)
        took = time.perf_counter() - start
    messages = max(64, int(messages * job.seconds / took))
    wait_until_at_rest(job.pid)
    deliveries, cpu, wall = crowd.deliveries, cpu_seconds(job.pid), time.perf_counter()
    pipeline.run(messages)
    wall = time.perf_counter() - wall
    wait_until_at_rest(job.pid)
    cpu = cpu_seconds(job.pid) - cpu
    deliveries = crowd.deliveries - deliveries
    crowd.finish(rooms)
    crowd.close()
    return {"rate": deliveries / cpu, "wall_rate": deliveries / wall, "messages": messages}


def stalled(job: Job) -> Result:
    """One message in flight; with `stall`, the last member to join never reads."""
    crowd, rooms = _open(job)
    room = rooms[0]
    _one_by_one(crowd, room, _times(_WARM_UP))
    wait_until_at_rest(job.pid)
    silent = None
    if job.stall:
        # It had its share of the warm-up, which from here on is not counted as due.
        silent = room.members[-1]
        crowd.stop_reading(silent)
        crowd.deliveries -= sum(room.sent.values())
    before = memory_kib(job.pid)
    most, cut_after, files = before, 0.0, open_files(job.pid)
    times, until_cut = array("d"), 0
    began = looked = time.perf_counter()
    sent_at = began

    def delivered(member: Member, count: int) -> None:
        times.extend([time.perf_counter() - sent_at] * count)

    for _ in range(job.megabytes * 1_000_000 // job.size):
        sent_at = time.perf_counter()
        crowd.publish(room.members[0])
        try:
            crowd.receive_all([room], delivered, standstill=5.0 if silent else 10.0)
        except FaultError as fault:
            if silent is None or fault.kind != "lost":
                raise
            crowd.close()
            return {"stood_still_after_mb": room.sent[0] * job.size / 1e6}
        if sent_at - looked > _SAMPLE_SECONDS:
            looked = sent_at
            most = max(most, memory_kib(job.pid))
            # Seen at the server: a close behind bytes that nobody reads does not reach the client.
            if silent and not cut_after and open_files(job.pid) < files:
                cut_after, until_cut = sent_at - began, len(times)
    most = max(most, memory_kib(job.pid))
    wall = time.perf_counter() - began
    crowd.finish(rooms)
    crowd.close()
    result = {"growth_mib": (most - before) / 1024, "wall_s": wall, **_milliseconds(times)}
    if silent:
        early = times[:until_cut] if until_cut else times
        result["early_p99_ms"] = _milliseconds(early)["p99_ms"]
        if cut_after:
            result["cut_after_s"] = cut_after
        silent.sock.close()
    return result


def pairs(job: Job) -> Result:
    """Rooms of two: what joining, being there and talking cost."""
    crowd = Crowd(job.port, job.size, one_order=job.one_order)
    # A server's first connections load what all later ones share.
    first = crowd.open(10, 2, job.codec, "first")
    _talk(crowd, first, 0.1)
    crowd.leave(first)
    crowd.deliveries = 0
    wait_until_at_rest(job.pid)

    memory, cpu = memory_kib(job.pid), cpu_seconds(job.pid)
    rooms = crowd.open(job.rooms, 2, job.codec, "room")
    wait_until_at_rest(job.pid)
    cpu = cpu_seconds(job.pid) - cpu
    members = 2 * job.rooms
    result = {
        "joins": members / cpu,
        "kib_each": (memory_kib(job.pid) - memory) / members,
    }

    _talk(crowd, rooms, job.seconds / 8)
    wait_until_at_rest(job.pid)
    messages, cpu, wall = _sent(rooms), cpu_seconds(job.pid), time.perf_counter()
    times = _talk(crowd, rooms, job.seconds)
    wall = time.perf_counter() - wall
    wait_until_at_rest(job.pid)
    cpu = cpu_seconds(job.pid) - cpu
    messages = _sent(rooms) - messages
    result |= {
        "rate": messages / cpu,
        "wall_rate": messages / wall,
        "kib_each_after": (memory_kib(job.pid) - memory) / members,
        **_milliseconds(times),
    }
    crowd.finish(rooms)
    crowd.close()
    return result


def _sent(rooms: list[Room]) -> int:
    return sum(sum(room.sent.values()) for room in rooms)


def _talk(crowd: Crowd, rooms: list[Room], seconds: float) -> "array[float]":
    """Keep one message in flight in each room, sent by its members in turn; return the delays."""
    end = time.perf_counter() + seconds
    since: dict[int, float] = {}
    times = array("d")
    talking = len(rooms)

    def say(member: Member) -> None:
        member.room.waiting = len(member.room.members)
        since[id(member.room)] = time.perf_counter()
        crowd.publish(member)

    def delivered(member: Member, count: int) -> None:
        nonlocal talking
        room = member.room
        room.waiting -= count
        if room.waiting:
            return
        now = time.perf_counter()
        times.append(now - since[id(room)])
        if now < end:
            say(room.members[sum(room.sent.values()) % len(room.members)])
        else:
            talking -= 1

    for room in rooms:
        say(room.members[0])
    crowd.pump_until(lambda: not talking, delivered)
    return times


def busy(job: Job) -> Result:
    """Members that are silent until a line comes on standard input, then busy until the next."""
    crowd, rooms = _open(job)
    senders = [member for room in rooms for member in room.members[: job.senders]]
    pipeline = _Pipeline(crowd, senders, job.window)
    pipeline.run(len(senders))
    wait_until_at_rest(job.pid)
    _steered(lambda: crowd.pump(0.05))
    deliveries, cpu, wall = crowd.deliveries, cpu_seconds(job.pid), time.perf_counter()
    pipeline.fill(sys.maxsize)
    _steered(lambda: crowd.pump(0.05, pipeline.delivered))
    wall = time.perf_counter() - wall
    cpu = cpu_seconds(job.pid) - cpu
    deliveries = crowd.deliveries - deliveries
    pipeline.left = 0
    crowd.receive_all(rooms)
    crowd.finish(rooms)
    crowd.close()
    return {"wall_rate": deliveries / wall, "busy_percent": 100 * cpu / wall}


def _steered(work: Callable[[], object]) -> None:
    """Say `ready`, and work until a line comes."""
    print(json.dumps({"ready": True}), flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        work()
    os.read(sys.stdin.fileno(), 1)


def probe(job: Job) -> Result:
    """Send in a room of two every 3 to 7 ms, whatever has come back; see how late each arrives.

    The arrival is the kernel's time stamp at the receiving socket, so that a moment in which this
    process waits for a core of a busy machine is not taken for the server's.
    """
    crowd = Crowd(job.port, job.size, one_order=job.one_order)
    speaker, listener = crowd.open(1, 2, "raw", "probe")[0].members
    listener.sock.setsockopt(socket.SOL_SOCKET, _TIMESTAMPS, 1)
    checker, cursor = OrderPerSender(), listener.cursor
    sent_at: list[float] = []
    times, draw = array("d"), random.Random(1)
    end = time.time() + job.seconds
    due = time.time()
    last = due
    while time.time() < end or len(times) < len(sent_at):
        now = time.time()
        if now - last > 10:
            raise FaultError("lost", "no delivery to the room of two for 10 s")
        if now >= due and now < end:
            sent_at.append(time.time())
            speaker.sock.send(client_frame(message(0, len(sent_at) - 1, job.size)))
            due = now + draw.uniform(0.003, 0.007)
        wait = max(0.0, min(due, end) - time.time()) if now < end else 0.2
        ready, _, _ = select.select([listener.sock, speaker.sock], [], [], wait)
        if speaker.sock in ready and not speaker.sock.recv(65_536):
            raise FaultError("closed", "the speaker of the room of two")
        if listener.sock in ready:
            arrived, data = _receive_stamped(listener.sock)
            last = arrived
            first = cursor.deliveries
            for number in range(first, first + checker.take(cursor, memoryview(data))):
                times.append(arrived - sent_at[number])
    checker.finish(cursor, {0: len(sent_at)})
    crowd.close()
    late = [value * 1e3 for value in sorted(times)]
    shares = (1, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.9, 100)
    return {f"p{share:g}_ms": percentile(late, share) for share in shares} | {
        "samples": len(late),
        "median_ms": median(late),
    }


def _receive_stamped(sock: socket.socket) -> tuple[float, bytes]:
    """Return when the kernel got the latest of these bytes, in seconds, and the bytes."""
    data, extra, _, _ = sock.recvmsg(65_536, 256)
    if not data:
        raise FaultError("closed", "the listener of the room of two")
    for level, kind, value in extra:
        if level == socket.SOL_SOCKET and kind == _TIMESTAMPS:
            seconds, nanoseconds = struct.unpack("qq", value)
            return seconds + nanoseconds / 1e9, data
    return time.time(), data


_JOBS: Final[dict[Kind, Callable[[Job], Result]]] = {
    "fanout": fanout,
    "ahead": ahead,
    "stalled": stalled,
    "pairs": pairs,
    "busy": busy,
    "probe": probe,
}


def main() -> None:
    """Do the job in the first argument, and print what came of it."""
    raise_file_limit()
    signal.alarm(LONGEST_SECONDS)
    job = Job(**json.loads(sys.argv[1]))
    with contextlib.suppress(BrokenPipeError):
        try:
            print(json.dumps({"result": _JOBS[job.kind](job)}), flush=True)
        except FaultError as fault:
            print(json.dumps({"fault": f"{job.kind}: {fault}"}), flush=True)


if __name__ == "__main__":
    main()
