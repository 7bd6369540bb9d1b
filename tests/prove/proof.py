"""Patches are tried in copies of the checkout, which itself is never written to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Literal

import attrs
import trio

from tests.prove.patch import Patch, PatchError

ROOT = Path(__file__).parent.parent.parent
SCRATCH = os.path.realpath(gettempdir())  # as Python will name what it imports from there
COPIED = ("roomactors", "tests", "examples", "pyproject.toml")

# In seconds. The tests named in the table take one or two; a patch may well make
# one wait for ever, and then this is what it costs.
TIME_LIMIT = 20.0
TIME_LIMIT_UNPATCHED = 300.0  # all the tests of the table, one after the other

PYTEST_FAILED_TESTS = 1  # pytest's exit status where tests ran and some of them failed

Verdict = Literal["caught", "caught by hanging", "survived", "not a proof"]


class ProofError(Exception):
    """Nothing can be proved: the tests do not pass on the code as it is."""


@attrs.frozen
class Result:
    """What came of one patch."""

    patch: Patch
    verdict: Verdict
    because: str
    """What the failing test said, or why there is no proof."""

    @property
    def good(self) -> bool:
        """Whether the promise is known to be watched over by the tests named."""
        return self.verdict in {"caught", "caught by hanging"}


async def prove(
    patches: Sequence[Patch],
    report: Callable[[Result], None],
    *,
    root: Path = ROOT,
    package: str = "roomactors",
    workers: int = 2,
    time_limit: float = TIME_LIMIT,
) -> list[Result]:
    """Try each patch in a copy of its own, and say what its tests made of it.

    Args:
      patches: what to try.
      report: told each result when it is known.
      root: the checkout; it is only read.
      package: the package in it that is patched.
      workers: how many patches are tried at a time.
      time_limit: in seconds, how long the tests of one patch may take before they
        are taken to hang.

    Raises:
      ProofError: a named test fails without any patch, or a copy is not what is tested.

    Cancelling it ends the processes and removes the copies.
    """
    results: list[Result] = []
    if not patches:
        return results
    with TemporaryDirectory(prefix="prove-", dir=SCRATCH) as scratch:
        copies = [Path(scratch) / f"copy{number}" for number in range(workers)]
        _copy(root, copies[0], package)
        await _see_that_it_is_tested(copies[0], package)
        await _see_the_tests_pass(copies[0], _tests_of(patches))
        for copy in copies[1:]:
            shutil.copytree(copies[0], copy)

        send_copy, receive_copy = trio.open_memory_channel[Path](workers)
        for copy in copies:
            send_copy.send_nowait(copy)

        async def try_in(copy: Path, patch: Patch) -> None:
            result = await _try(copy, patch, time_limit)
            results.append(result)
            report(result)
            send_copy.send_nowait(copy)

        async with trio.open_nursery() as nursery:
            for patch in patches:
                nursery.start_soon(try_in, await receive_copy.receive(), patch)
    return results


def _copy(root: Path, copy: Path, package: str) -> None:
    copy.mkdir()
    for name in {*COPIED, package}:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, copy / name)


def _tests_of(patches: Sequence[Patch]) -> list[str]:
    return list(dict.fromkeys(test for patch in patches for test in patch.tests))


async def _see_that_it_is_tested(copy: Path, package: str) -> None:
    # Compiled once for all runs. A patch may leave a file's size and second as they
    # were, which is all that Python looks at by default; a hash of the text is not fooled.
    compile_all = ["-m", "compileall", "-q", "--invalidation-mode", "checked-hash", package]
    if complaints := await _python(copy, compile_all):
        raise ProofError(f"without any patch, Python says:\n{complaints}")
    where = ["-c", f"import {package}; print({package}.__path__[0])"]
    if (path := await _python(copy, where)) != str(copy / package):
        raise ProofError(f"not against the copy, but against this the tests would run:\n{path}")


async def _python(copy: Path, arguments: Sequence[str]) -> str:
    """Run Python in a copy; gives all that it printed."""
    done = await trio.run_process(
        [sys.executable, *arguments],
        cwd=copy,
        env=_environment(copy),
        check=False,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
    )
    return done.stdout.decode(errors="replace").strip()


async def _see_the_tests_pass(copy: Path, tests: Sequence[str]) -> None:
    environment = _environment(copy)
    del environment["PYTHONDONTWRITEBYTECODE"]  # so that pytest's work on the test files is kept
    with trio.move_on_after(TIME_LIMIT_UNPATCHED):
        status, output = await _pytest(copy, tests, environment)
        if status != 0:
            raise ProofError(f"without any patch, pytest says:\n{output}")
        return
    raise ProofError(f"without any patch, the tests hang: {' '.join(tests)}")


async def _try(copy: Path, patch: Patch, time_limit: float) -> Result:
    file = copy / patch.file
    text = file.read_text(encoding="utf-8")
    try:
        file.write_text(patch.applied_to(text), encoding="utf-8")
    except PatchError as error:
        return Result(patch, "not a proof", str(error))
    try:
        with trio.move_on_after(time_limit):
            return _judged(patch, *await _pytest(copy, patch.tests, _environment(copy)))
        return Result(patch, "caught by hanging", f"not done after {time_limit:g} s")
    finally:
        file.write_text(text, encoding="utf-8")


def _judged(patch: Patch, status: int, output: str) -> Result:
    if status == 0:
        return Result(patch, "survived", "the tests pass all the same")
    lines = output.splitlines()
    if status != PYTEST_FAILED_TESTS:
        # For example, the module no longer loads: any test would notice that.
        return Result(patch, "not a proof", f"pytest ended with {status}: {lines[-1:]}")
    failures = [_failure(test, lines) for test in patch.tests]
    if passed := [test for test, line in zip(patch.tests, failures, strict=True) if line is None]:
        return Result(patch, "survived", f"no failure of {', '.join(passed)}")
    return Result(patch, "caught", failures[0] or "")


def _failure(test: str, lines: Sequence[str]) -> str | None:
    """What pytest's summary says of a test, or of one of its parameter sets."""
    for line in lines:
        outcome, _, rest = line.partition(" ")
        if outcome in {"FAILED", "ERROR"} and rest.startswith(test):
            end = rest[len(test) :]
            if not end or end.startswith(("[", " - ")):
                return end.partition(" - ")[2] or outcome.lower()
    return None


def _environment(copy: Path) -> dict[str, str]:
    """The environment in which the copy, and not the checkout, is what is imported."""
    ours = {
        name: value
        for name, value in os.environ.items()
        # What this run is measured or configured by is not about the runs below it.
        if not name.startswith(("COVERAGE_", "COV_", "PYTEST_", "PYTHON"))
    }
    return ours | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "250"}


async def _pytest(copy: Path, tests: Sequence[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run tests in a copy; gives pytest's exit status and what it printed."""
    options = ["-q", "-rfE", "--tb=line", "--color=no", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = await trio.run_process(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=copy,
        env=environment,
        check=False,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        # A test may have started processes of its own: they end with it.
        start_new_session=True,
        deliver_cancel=_kill_session,
    )
    return done.returncode, done.stdout.decode(errors="replace")


async def _kill_session(process: trio.Process) -> None:
    os.killpg(process.pid, signal.SIGKILL)
