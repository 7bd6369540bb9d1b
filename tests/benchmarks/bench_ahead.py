"""Fan-out to 1,000 members of one room, publishers ahead of the server.

Eight members keep eight messages of 128 bytes in flight each (64 in all), a new one for each of
their own that comes back; so there is mostly more to read than the server has handled. The more is
in flight, the more a server that joins what waits has to join; that is why the number is bounded
low, and why a second run has eight times as many. *Deliveries per CPU-second* is the deliveries of
the timed part, until the last one has arrived, over what the server's process ran meanwhile, in
user and kernel mode. It leaves out connecting, the trial bursts by which the number of messages is
found that fills the time, and the load's own time.
"""

import attrs

from tests.benchmarks.load import Result
from tests.benchmarks.plan import (
    Bench,
    Claim,
    Fact,
    Results,
    Run,
    against,
    ratios,
    run_load,
    side_by_side,
)
from tests.benchmarks.servers import BARE, NAIVE, OURS, SERVERS, Running

_MEMBERS = 1000
_FEW, _MANY = "64 in flight", "512 in flight"


def _runs(quick: bool) -> list[Run]:
    def measure(running: Running, window: int) -> Result:
        return run_load(
            attrs.evolve(
                against("ahead", running),
                members=_MEMBERS,
                senders=8,
                window=window,
                seconds=1.0 if quick else 6.0,
            )
        )

    def few(running: Running) -> Result:
        return measure(running, window=8)

    def many(running: Running) -> Result:
        return measure(running, window=64)

    return [Run(server, _FEW, few) for server in SERVERS] + [
        Run(server, _MANY, many) for server in (OURS, BARE)
    ]


def _claims(results: Results) -> list[Claim]:
    rates = {server: results.values(server, _FEW, "rate") for server in SERVERS}
    return [
        Claim(
            text=f"deliveries per CPU-second, of the {other.name}'s, {_FEW}",
            unit="x",
            values=ratios(rates[OURS], rates[other]),
            better="at least",
            target=target,
        )
        for other, target in ((NAIVE, 30), (BARE, 8))
    ]


def _facts(results: Results) -> list[Fact]:
    facts = []
    for variant in (_FEW, _MANY):
        facts += side_by_side(
            results,
            [(server.name, server, variant) for server in SERVERS],
            [
                (f"{variant}: deliveries per CPU-second", "/s", "rate"),
                (f"{variant}: deliveries per second", "/s", "wall_rate"),
            ],
        )
    return facts


BENCH = Bench(
    name="ahead",
    title="Fan-out to 1,000 members, publishers ahead of the server",
    covers=__doc__,
    runs=_runs,
    claims=_claims,
    facts=_facts,
)
