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
from tests.benchmarks.plan import Bench, Claim, Results, Run, against, ratios, run_load
from tests.benchmarks.servers import BARE, NAIVE, OURS, SERVERS, Running

_ROOMS = 500
_NAMES = {"raw": "over /raw", "json": "over /ws"}


def _runs(quick: bool) -> list[Run]:
    def raw(running: Running) -> Result:
        job = against("pairs", running)
        return run_load(attrs.evolve(job, rooms=_ROOMS, seconds=1.5 if quick else 6.0))

    def json(running: Running) -> Result:
        job = attrs.evolve(against("pairs", running), codec="json")
        return run_load(attrs.evolve(job, rooms=_ROOMS, seconds=1.5 if quick else 6.0))

    return [Run(server, "raw", raw) for server in SERVERS] + [
        Run(server, "json", json) for server in SERVERS if server.speaks_json
    ]


def _claims(results: Results) -> list[Claim]:
    def ours(name: str) -> list[float]:
        return results.values(OURS, "raw", name)

    def naive(name: str) -> list[float]:
        return results.values(NAIVE, "raw", name)

    claims = [
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
        Claim(
            text="messages per CPU-second, of the bare loop's",
            unit="x",
            values=ratios(ours("rate"), results.values(BARE, "raw", "rate")),
        ),
    ]
    for server, variant in ((OURS, "raw"), (OURS, "json"), (BARE, "raw"), (NAIVE, "raw")):
        who = f"{server.name}, {_NAMES[variant]}" if server is OURS else server.name
        for text, unit, name in (
            ("messages per CPU-second", "/s", "rate"),
            ("joins per CPU-second", "/s", "joins"),
            ("memory by member, joined", "KiB", "kib_each"),
            ("memory by member, after talking", "KiB", "kib_each_after"),
            ("to both, p50", "ms", "p50_ms"),
            ("to both, p99", "ms", "p99_ms"),
        ):
            values = results.values(server, variant, name)
            claims.append(Claim(text=f"{who}: {text}", unit=unit, values=values))
    return [claim for claim in claims if claim.values]


BENCH = Bench(
    name="pairs",
    title="500 rooms of two",
    covers=__doc__,
    runs=_runs,
    claims=_claims,
)
