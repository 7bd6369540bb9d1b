"""500 rooms of two: messages, memory and joins.

*Joins* are connections that were opened and have joined, 64 under way at a time, over what the
server's process ran from before the first until it was at rest after the last: accepting, the
handshake, the join (over `/ws` also `welcome`, the `join`, `joined`, and the other's
`member_joined`). The twenty connections before, which load what all later ones share, are left out.
*Memory* is the growth of the server's proportional set size over the same span by member; the
kernel's share is not in it; *after talking* is the same at the end of the run. *Messages* are those
of the timed part over what the server's process ran meanwhile: in each room one message of
128 bytes is in flight, sent by the two in turn, when both have got the last. *To both* is the wall
time from just before the send until the load has read it from both sockets, with 500 rooms at work
at once.
"""

import attrs

from tests.benchmarks.load import Result
from tests.benchmarks.plan import (
    Bench,
    Claim,
    Column,
    Fact,
    Results,
    Run,
    against,
    ratios,
    run_load,
    side_by_side,
)
from tests.benchmarks.servers import BARE, NAIVE, OURS, SERVERS, Running

_ROOMS = 500
COLUMNS: tuple[Column, ...] = (
    ("roomactors /raw", OURS, "raw"),
    ("roomactors /ws", OURS, "json"),
    ("bare loop", BARE, "raw"),
    ("naive loop", NAIVE, "raw"),
)


def _runs(quick: bool) -> list[Run]:
    def raw(running: Running) -> Result:
        job = against("pairs", running)
        return run_load(attrs.evolve(job, rooms=_ROOMS, seconds=1.0 if quick else 6.0))

    def json(running: Running) -> Result:
        job = attrs.evolve(against("pairs", running), codec="json")
        return run_load(attrs.evolve(job, rooms=_ROOMS, seconds=1.0 if quick else 6.0))

    return [Run(server, "raw", raw) for server in SERVERS] + [
        Run(server, "json", json) for server in SERVERS if server.speaks_json
    ]


def _claims(results: Results) -> list[Claim]:
    def ours(name: str) -> list[float]:
        return results.values(OURS, "raw", name)

    def naive(name: str) -> list[float]:
        return results.values(NAIVE, "raw", name)

    return [
        Claim(
            text="messages per CPU-second, of the naive loop's",
            unit="x",
            values=ratios(ours("rate"), naive("rate")),
            better="at least",
            target=4,
        ),
        Claim(
            text="memory by connected and joined member",
            unit="KiB",
            values=ours("kib_each"),
            better="at most",
            target=16,
        ),
        Claim(
            text="joins per CPU-second, of the naive loop's",
            unit="x",
            values=ratios(ours("joins"), naive("joins")),
            better="at least",
            target=1,
        ),
    ]


def _facts(results: Results) -> list[Fact]:
    return side_by_side(
        results,
        COLUMNS,
        [
            ("messages per CPU-second", "/s", "rate"),
            ("messages per second", "/s", "wall_rate"),
            ("joins per CPU-second", "/s", "joins"),
            ("memory by member, joined", "KiB", "kib_each"),
            ("memory by member, after talking", "KiB", "kib_each_after"),
            ("to both, p50", "ms", "p50_ms"),
            ("to both, p99", "ms", "p99_ms"),
        ],
    )


BENCH = Bench(
    name="pairs",
    title="500 rooms of two",
    covers=__doc__,
    runs=_runs,
    claims=_claims,
    facts=_facts,
)
