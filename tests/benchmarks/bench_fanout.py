"""Fan-out to 1,000 members of one room, one message in flight.

A member sends 128 bytes; when all members, the sender included, have got it, it sends the next.
*Deliveries per CPU-second* is the deliveries of the timed part over what the server's process ran
meanwhile, in user and kernel mode: reading and parsing the message, the turn, the sends, and the
kernel's half of the loopback that is done in the sender's time. It leaves out connecting, the first
20 messages, and the load's own time. *To the last* is the wall time from just before the
send until the last member's bytes were read by the load, whose own reading is in it.
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
from tests.benchmarks.servers import BARE, OURS, SERVERS, Running

_MEMBERS = 1000


def _runs(quick: bool) -> list[Run]:
    def measure(running: Running) -> Result:
        job = against("fanout", running)
        return run_load(attrs.evolve(job, members=_MEMBERS, seconds=1.0 if quick else 5.0))

    return [Run(server, "", measure) for server in SERVERS]


def _claims(results: Results) -> list[Claim]:
    return [
        Claim(
            text="deliveries per CPU-second, of the bare loop's",
            unit="x",
            values=ratios(results.values(OURS, "", "rate"), results.values(BARE, "", "rate")),
            better="at least",
            target=0.75,
        )
    ]


def _facts(results: Results) -> list[Fact]:
    return side_by_side(
        results,
        [(server.name, server, "") for server in SERVERS],
        [
            ("deliveries per CPU-second", "/s", "rate"),
            ("deliveries per second", "/s", "wall_rate"),
            ("to the last member, p50", "ms", "p50_ms"),
            ("to the last member, p99", "ms", "p99_ms"),
        ],
    )


BENCH = Bench(
    name="fanout",
    title="Fan-out to 1,000 members, one message in flight",
    covers=__doc__,
    runs=_runs,
    claims=_claims,
    facts=_facts,
)
