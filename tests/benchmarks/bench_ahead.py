"""Fan-out to 1,000 members of one room, publishers ahead of the server.

Eight members keep 64 messages of 128 bytes in flight each (512 in all), a new one for each of their
own that comes back; so there is always more to read than the server has handled. *Deliveries per
CPU-second* is the deliveries of the timed part, until the last one has arrived, over what the
server's process ran meanwhile, in user and kernel mode. It leaves out connecting, the
trial bursts by which the number of messages is found that fills the time, and the load's own time.
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


def _runs(quick: bool) -> list[Run]:
    def measure(running: Running) -> Result:
        job = against("ahead", running)
        seconds = 1.0 if quick else 6.0
        return run_load(attrs.evolve(job, members=_MEMBERS, senders=8, window=64, seconds=seconds))

    return [Run(server, "", measure) for server in SERVERS]


def _claims(results: Results) -> list[Claim]:
    rates = {server: results.values(server, "", "rate") for server in SERVERS}
    return [
        Claim(
            text="deliveries per CPU-second, of the naive loop's",
            unit="x",
            values=ratios(rates[OURS], rates[NAIVE]),
            better="at least",
            target=30,
        ),
        Claim(
            text="deliveries per CPU-second, of the bare loop's",
            unit="x",
            values=ratios(rates[OURS], rates[BARE]),
            better="at least",
            target=8,
        ),
    ]


def _facts(results: Results) -> list[Fact]:
    return side_by_side(
        results,
        [(server.name, server, "") for server in SERVERS],
        [
            ("deliveries per CPU-second", "/s", "rate"),
            ("deliveries per second", "/s", "wall_rate"),
        ],
    )


BENCH = Bench(
    name="ahead",
    title="Fan-out to 1,000 members, publishers ahead of the server",
    covers=__doc__,
    runs=_runs,
    claims=_claims,
    facts=_facts,
)
