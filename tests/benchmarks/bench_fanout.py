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
from tests.benchmarks.plan import Bench, Claim, Results, Run, against, ratios, run_load
from tests.benchmarks.servers import BARE, NAIVE, OURS, SERVERS, Running

_MEMBERS = 1000


def _runs(quick: bool) -> list[Run]:
    def measure(running: Running) -> Result:
        job = against("fanout", running)
        return run_load(attrs.evolve(job, members=_MEMBERS, seconds=1.0 if quick else 5.0))

    return [Run(server, "", measure) for server in SERVERS]


def _claims(results: Results) -> list[Claim]:
    rates = {server: results.values(server, "", "rate") for server in SERVERS}
    claims = [
        Claim(
            text="deliveries per CPU-second, of the bare loop's",
            unit="x",
            values=ratios(rates[OURS], rates[BARE]),
            better="at least",
            target=0.75,
        ),
        Claim(
            text="deliveries per CPU-second, of the naive loop's",
            unit="x",
            values=ratios(rates[OURS], rates[NAIVE]),
        ),
    ]
    for server in SERVERS:
        claims += [
            Claim(
                text=f"{server.name}: deliveries per CPU-second", unit="/s", values=rates[server]
            ),
            Claim(
                text=f"{server.name}: to the last member, p50",
                unit="ms",
                values=results.values(server, "", "p50_ms"),
            ),
            Claim(
                text=f"{server.name}: to the last member, p99",
                unit="ms",
                values=results.values(server, "", "p99_ms"),
            ),
        ]
    return claims


BENCH = Bench(
    name="fanout",
    title="Fan-out to 1,000 members, one message in flight",
    covers=__doc__,
    runs=_runs,
    claims=_claims,
)
