"""A message in a room of two, while other rooms of the same server are busy.

Two loads: one room of 5,000 members with four senders, and fifty rooms of 500 with one sender
each, every sender eight messages of 128 bytes ahead. Fifty rooms of 500 are 25,000 sockets of
the server's one process; where the limit on open files (`ulimit -Hn`) is lower, the rooms are as
large as fits, and the report says so. A process of its own sends 128 bytes in the room of two every
3 to 7 ms, whether or not the last has arrived. The delay is from just before the send until the
kernel's time stamp at the other member's socket; waiting for a core before that, of the server
too, is in it, the receiving process's own waking is not. First with all members connected and
silent (*idle*), then under load; *added* is the difference of the two 99th percentiles. The server
and the load are saturated: this is the delay at the worst, on a machine with as few as two cores
for the three processes. The first second of load is left out.
"""

import time

import attrs

from tests.benchmarks.load import Result
from tests.benchmarks.plan import (
    Bench,
    Claim,
    Fact,
    Results,
    Run,
    against,
    run_load,
    side_by_side,
    started,
)
from tests.benchmarks.processes import raise_file_limit
from tests.benchmarks.servers import BARE, OURS, Running

_FILES_FOR_THE_REST = 100  # of the server: listener, epoll sets, the room of two, the interpreter
_MANY_ROOMS = 50


def many_members() -> int:
    """Return how many members each of fifty rooms can have under the limit on open files."""
    return min(500, (raise_file_limit() - _FILES_FOR_THE_REST) // _MANY_ROOMS)


def _runs(quick: bool) -> list[Run]:
    seconds = 2.0 if quick else 8.0
    one, each = (1000, 50) if quick else (5000, many_members())

    def beside(running: Running, rooms: int, members: int, senders: int) -> Result:
        load = attrs.evolve(
            against("busy", running), rooms=rooms, members=members, senders=senders, window=8
        )
        probe = attrs.evolve(against("probe", running), one_order=False, seconds=seconds)
        with started(load) as busy:
            busy.wait_until_ready()
            idle = run_load(probe)
            busy.go_on()
            time.sleep(1)
            loaded = run_load(probe)
            busy.wait_until_ready()
            busy.go_on()
            result = busy.result()
        result |= {f"idle_{name}": value for name, value in idle.items()}
        result |= {f"loaded_{name}": value for name, value in loaded.items()}
        return result | {"added_p99_ms": loaded["p99_ms"] - idle["p99_ms"]}

    def large(running: Running) -> Result:
        return beside(running, rooms=1, members=one, senders=4)

    def many(running: Running) -> Result:
        return beside(running, rooms=_MANY_ROOMS, members=each, senders=1)

    return [
        Run(server, variant, measure)
        for variant, measure in (
            (f"one room of {one:,}", large),
            (f"fifty rooms of {each}", many),
        )
        for server in (OURS, BARE)
    ]


def _variants(results: Results) -> list[str]:
    return list(dict.fromkeys(variant for _, variant in results.of))


def _claims(results: Results) -> list[Claim]:
    return [
        Claim(
            text=f"added p99 beside {variant}",
            unit="ms",
            values=results.values(OURS, variant, "added_p99_ms"),
            better="at most",
            target=10,
        )
        for variant in _variants(results)
    ]


def _facts(results: Results) -> list[Fact]:
    facts = []
    for variant in _variants(results):
        facts += side_by_side(
            results,
            [(server.name, server, variant) for server in (OURS, BARE)],
            [
                (f"{variant}: p50 idle", "ms", "idle_p50_ms"),
                (f"{variant}: p99 idle", "ms", "idle_p99_ms"),
                (f"{variant}: p50 under load", "ms", "loaded_p50_ms"),
                (f"{variant}: p99 under load", "ms", "loaded_p99_ms"),
                (f"{variant}: added p99", "ms", "added_p99_ms"),
                (f"{variant}: deliveries of the load", "/s", "wall_rate"),
                (f"{variant}: the server's core in use", "%", "busy_percent"),
            ],
        )
    return facts


BENCH = Bench(
    name="neighbours",
    title="A room of two beside busy rooms",
    covers=__doc__,
    runs=_runs,
    claims=_claims,
    facts=_facts,
)
