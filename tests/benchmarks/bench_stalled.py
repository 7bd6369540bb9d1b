"""One member of 1,000 stops reading while 100 MB go to the room.

The same run twice, with and without the member that never reads, in turn. One member sends 16,000
bytes; when all the others have got it, it sends the next, until 100 MB have gone to the room. (In
messages of 128 bytes that would be 800 million deliveries a run.) The delay of a delivery is the
wall time from just before the send until the load has read the message's last byte from that
member's socket; every delivery to every member that reads is in the percentiles. *Until it is cut
off* takes only the deliveries while the server still held the silent member's socket. Memory is the
growth of the server's proportional set size from when all had joined to its highest value in
samples 0.25 s apart; the kernel's socket buffers are not in it. It leaves out connecting and the
first 20 messages.

The naive loop is run with the silent member only, to see what it does: it stands still.
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
from tests.benchmarks.servers import NAIVE, OURS, Running

_MEMBERS = 1000
_BYTES = 16_000


def _runs(quick: bool) -> list[Run]:
    def measure(running: Running, stall: bool) -> Result:
        return run_load(
            attrs.evolve(
                against("stalled", running),
                members=_MEMBERS,
                size=_BYTES,
                megabytes=5 if quick else 100,
                stall=stall,
            )
        )

    def without(running: Running) -> Result:
        return measure(running, stall=False)

    def with_it(running: Running) -> Result:
        return measure(running, stall=True)

    return [Run(OURS, "all read", without), Run(OURS, "one silent", with_it),
            Run(NAIVE, "one silent", with_it)]  # fmt: skip


def _claims(results: Results) -> list[Claim]:
    calm = results.values(OURS, "all read", "p99_ms")
    late = results.values(OURS, "one silent", "p99_ms")
    early = results.values(OURS, "one silent", "early_p99_ms")
    return [
        Claim(
            text="the others' p99, with the silent one over without",
            unit="x",
            values=ratios(late, calm),
            better="at most",
            target=1.2,
        ),
        Claim(
            text="the same until it is cut off",
            unit="x",
            values=ratios(early, calm),
            better="at most",
            target=1.2,
        ),
        Claim(
            text="growth of the server's memory",
            unit="MB",
            values=[value * 1.048576 for value in results.values(OURS, "one silent", "growth_mib")],
            better="at most",
            target=20,
        ),
    ]


def _facts(results: Results) -> list[Fact]:
    return side_by_side(
        results,
        [
            ("roomactors, all read", OURS, "all read"),
            ("roomactors, one silent", OURS, "one silent"),
            ("naive loop, one silent", NAIVE, "one silent"),
        ],
        [
            ("delay of those who read, p50", "ms", "p50_ms"),
            ("delay of those who read, p99", "ms", "p99_ms"),
            ("the same until it is cut off", "ms", "early_p99_ms"),
            ("the silent one was cut off after", "s", "cut_after_s"),
            ("growth of the server's memory", "MiB", "growth_mib"),
            ("the whole run", "s", "wall_s"),
            ("the room stood still for good after", "MB", "stood_still_after_mb"),
        ],
    )


BENCH = Bench(
    name="stalled",
    title="One of 1,000 members stops reading while 100 MB go to the room",
    covers=__doc__,
    runs=_runs,
    claims=_claims,
    facts=_facts,
)
