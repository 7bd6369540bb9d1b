"""`python -m tests.benchmarks`: run the scenarios, print tables, draw pictures.

All servers of a scenario run in turn, and that several times over, each time as a fresh process
with a fresh load process; what is printed is the median. Exit status 1: a target was missed, or a
server lost, repeated, reordered or damaged a delivery.
"""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.benchmarks import (
    bench_ahead,
    bench_fanout,
    bench_neighbours,
    bench_pairs,
    bench_stalled,
    page,
    report,
)
from tests.benchmarks.plan import Bench, Claim, LoadError, Results, Run
from tests.benchmarks.processes import busy_seconds, own_seconds, raise_file_limit
from tests.benchmarks.servers import ServerError, running

BENCHES: Final = (
    bench_fanout.BENCH,
    bench_ahead.BENCH,
    bench_stalled.BENCH,
    bench_pairs.BENCH,
    bench_neighbours.BENCH,
)
_REPETITIONS: Final = 3
_QUIET_PERCENT: Final = 10  # of all cores, by others: above it delays in wall time mean little
_PICTURES: Final = page.IMAGES


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="about a minute: one repetition, shorter and smaller; writes no files unless told to",
    )
    parser.add_argument(
        "--only",
        type=_some_benches,
        default=BENCHES,
        metavar="NAME,…",
        help=f"some of the scenarios: {', '.join(bench.name for bench in BENCHES)}",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="for pictures and numbers (docs/images)"
    )
    return parser.parse_args()


def _some_benches(names: str) -> list[Bench]:
    known = {bench.name: bench for bench in BENCHES}
    try:
        return [known[name] for name in names.split(",")]
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"there is no scenario {error}") from None


def _measure(benches: list[Bench], *, quick: bool, console: Console) -> dict[str, Results]:
    """Run everything, in turn; return the results by scenario."""
    repetitions = 1 if quick else _REPETITIONS
    steps: list[tuple[Bench, Run]] = [
        (bench, run) for bench in benches for _ in range(repetitions) for run in bench.runs(quick)
    ]
    found = {bench.name: Results() for bench in benches}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(steps))
        for bench, run in steps:
            what = f"{bench.name}: {run.server.name} {run.variant}"
            progress.update(task, description=what)
            try:
                with running(run.server) as server:
                    result = run.measure(server)
            except (LoadError, ServerError) as error:
                raise type(error)(f"{what}: {error}") from None
            found[bench.name].add(run, result)
            progress.advance(task)
        progress.update(task, description="measured")
    return found


def _draw(
    folder: Path, where: report.Origin, done: list[tuple[Bench, Results, list[Claim]]]
) -> None:
    # Only here, so that numbers can be had where matplotlib is missing.
    from tests.benchmarks import pictures

    for bench, results, _ in done:
        pictures.DRAWN[bench.name](results, where, folder / f"bench-{bench.name}.svg")
    if len(done) == len(BENCHES):
        claims = [(bench.name, claim) for bench, _, made in done for claim in made]
        pictures.overview(claims, where, folder / "bench-targets.svg")


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    arguments = _arguments()
    # Where nobody looks (a log), there is no width to fit in.
    console = Console(width=None if sys.stdout.isatty() else 110)
    raise_file_limit()
    repetitions = 1 if arguments.quick else _REPETITIONS
    command = shlex.join(["python", "-m", "tests.benchmarks", *sys.argv[1:]])
    where = report.origin(command, repetitions, quick=arguments.quick)
    began, busy, own = time.monotonic(), busy_seconds(), own_seconds()
    try:
        found = _measure(list(arguments.only), quick=arguments.quick, console=console)
    except (LoadError, ServerError) as error:
        console.print(f"[bold red]{error}[/]", soft_wrap=True)
        return 1
    others = (busy_seconds() - busy) - (own_seconds() - own)
    cores = os.cpu_count() or 1
    where["others_percent"] = round(max(0.0, 100 * others / cores / (time.monotonic() - began)), 1)
    done = [(bench, found[bench.name], bench.claims(found[bench.name])) for bench in arguments.only]
    for bench, _, claims in done:
        console.print()
        console.print(report.claims_table(bench, claims))
        console.print(report.facts_table(bench.facts(found[bench.name])))
    console.print()
    console.print(report.origin_line(where), soft_wrap=True, highlight=False)
    if where["others_percent"] > _QUIET_PERCENT:
        console.print("Other programs were busy meanwhile: the delays are theirs as well.")
    if arguments.quick:
        console.print("Quick: one repetition, and smaller than the titles say. Quote none of it.")
    many = bench_neighbours.many_members()
    if bench_neighbours.BENCH in arguments.only and many < 500 and not arguments.quick:
        console.print(
            f"The limit on open files allows fifty rooms of {many} in one process, not of 500."
        )
    folder = arguments.out or (None if arguments.quick else _PICTURES)
    if folder:
        report.write(folder, where, done)
        _draw(folder, where, done)
        if folder == _PICTURES:
            page.write()
        console.print(f"Written to {folder}.")
    missed = [claim for _, _, claims in done for claim in claims if not claim.met]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
