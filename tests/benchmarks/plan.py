"""What a benchmark is made of: runs, their results by repetition, and claims about them.

Each `bench_<what>.py` has a `Bench`. Pure, but for `run_load`, which runs one load process.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Literal, final

import attrs

from tests.benchmarks.load import Job, Kind, Result
from tests.benchmarks.quantiles import median
from tests.benchmarks.servers import ROOT, Running, Server

Better = Literal["at least", "at most"]


class LoadError(Exception):
    """A load process found a fault in what the server delivered, or ended without a result."""


@final
@attrs.frozen
class Run:
    """One server under one load, measured once in each repetition."""

    server: Server
    variant: str  # what is varied with the same server; part of the key of the results
    measure: Callable[[Running], Result]

    @property
    def key(self) -> tuple[str, str]:
        """What its results are found by."""
        return self.server.name, self.variant


@final
@attrs.define
class Results:
    """What each run measured, repetition by repetition."""

    of: dict[tuple[str, str], list[Result]] = attrs.field(factory=dict)

    def add(self, run: Run, result: Result) -> None:
        """Keep what one repetition of a run measured."""
        self.of.setdefault(run.key, []).append(result)

    def values(self, server: Server, variant: str, name: str) -> list[float]:
        """Return one measured value by repetition; empty where it was not measured."""
        found = self.of.get((server.name, variant), [])
        return [result[name] for result in found if name in result]


@final
@attrs.frozen(kw_only=True)
class Claim:
    """Something that is asked of the results: a value by repetition, and what it should be."""

    text: str
    unit: str
    values: list[float]
    better: Better
    target: float

    @property
    def value(self) -> float:
        """The median of the repetitions."""
        return median(self.values)

    @property
    def met(self) -> bool:
        """Whether the median is what it should be."""
        return self.value >= self.target if self.better == "at least" else self.value <= self.target


@final
@attrs.frozen(kw_only=True)
class Fact:
    """One line of the table below the claims: something measured, side by side."""

    text: str
    unit: str
    values: dict[str, list[float]]  # heading of the column to the values by repetition


Column = tuple[str, Server, str]  # heading, server, variant
Line = tuple[str, str, str]  # text, unit, name of what was measured


def side_by_side(results: Results, columns: Sequence[Column], lines: Sequence[Line]) -> list[Fact]:
    """Return facts for what was measured of at least one column."""
    facts = []
    for text, unit, name in lines:
        found = {
            heading: values
            for heading, server, variant in columns
            if (values := results.values(server, variant, name))
        }
        if found:
            facts.append(Fact(text=text, unit=unit, values=found))
    return facts


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return quotients of what was measured in the same repetition."""
    return [one / other for one, other in zip(above, below, strict=True)]


@final
@attrs.frozen(kw_only=True)
class Bench:
    """One scenario: what runs in it, and what is claimed of the results."""

    name: str  # for `--only`
    title: str
    covers: str  # what the timer covers and leaves out: the module's docstring
    runs: Callable[[bool], list[Run]]  # whether it is a quick one
    claims: Callable[[Results], list[Claim]]
    facts: Callable[[Results], list[Fact]]


def against(kind: Kind, running: Running) -> Job:
    """Return a job against a server, to be evolved into what a scenario needs."""
    return Job(kind=kind, port=running.port, pid=running.pid, one_order=running.server.one_order)


def run_load(work: Job) -> Result:
    """Run one job in a process of its own; return what it measured.

    Raises:
      LoadError: a delivery was lost, repeated, out of order or damaged, or the process ended.
    """
    with started(work) as load:
        return load.result()


@final
@attrs.frozen
class Load:
    """A load process."""

    job: Job
    _process: subprocess.Popen[str]

    def wait_until_ready(self) -> None:
        """Wait until a steered job can be told to go on."""
        if "ready" not in self._line():
            raise LoadError(f"{self.job.kind}: no result in place of readiness was due")

    def go_on(self) -> None:
        """Tell a steered job to go on."""
        _pipe(self._process.stdin).write("\n")
        _pipe(self._process.stdin).flush()

    def result(self) -> Result:
        """Wait for the end; return what was measured."""
        found = self._line().get("result")
        if not isinstance(found, dict):
            raise LoadError(f"{self.job.kind}: no result")
        return found

    def _line(self) -> dict[str, object]:
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise LoadError(f"{self.job.kind}: the load process ended with {self._process.wait()}")
        said: dict[str, object] = json.loads(line)
        if "fault" in said:
            raise LoadError(str(said["fault"]))
        return said


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@contextmanager
def started(work: Job) -> Iterator[Load]:
    """Run a load process for the length of a `with` block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.load", json.dumps(attrs.asdict(work))],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Load(work, process)
        finally:
            process.kill()
