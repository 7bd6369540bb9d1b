"""`python -m tests.prove`: try every patch, and say which were noticed."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

import attrs
import trio

from tests.prove.page import PAGE, page
from tests.prove.patch import Patch, PatchError
from tests.prove.patches import PATCHES
from tests.prove.promises import PATCHES_NEEDED, PROMISES
from tests.prove.proof import ROOT, ProofError, Result, prove


def too_few(patches: Sequence[Patch], promises: Sequence[str]) -> list[str]:
    """The promises with fewer different patches than each must have, as one sentence each."""
    lines = {(patch.promise, patch.file, patch.old, patch.new) for patch in patches}
    count = Counter(promise for promise, *_ in lines)
    return [
        f"{promise} has {count[promise]} of the {PATCHES_NEEDED} patches it needs"
        for promise in promises
        if count[promise] < PATCHES_NEEDED
    ]


@attrs.define
class Progress:
    """A bar at the foot of the terminal, or one line for each patch where there is none."""

    total: int
    done: int = 0

    def __call__(self, result: Result) -> None:
        """Count one result, and say at once what came of it."""
        self.done += 1
        bar = f"{'#' * (20 * self.done // self.total):.<20}"
        line = f"[{bar}] {self.done}/{self.total} {result.patch.promise}: {result.verdict}"
        in_place = sys.stderr.isatty() and result.verdict == "caught"
        print(f"\r{line:<79}" if in_place else line, end="" if in_place else "\n", file=sys.stderr)


def table(results: Sequence[Result]) -> str:
    """What came of each patch, promise by promise."""
    lines = []
    for promise in PROMISES:
        of_it = [result for result in results if result.patch.promise == promise]
        if of_it:
            lines.append(f"{promise}: {sum(r.good for r in of_it)} of {len(of_it)} caught")
        for result in sorted(of_it, key=lambda result: PATCHES.index(result.patch)):
            patch = result.patch
            lines.append(f"  {result.verdict}: {patch.breaks}")
            lines.append(f"    {patch.file}: {patch.old.strip()}  ->  {patch.new.strip()}")
            lines += [f"    {test}" for test in patch.tests]
            lines.append(f"    {result.because}")
    return "\n".join(lines)


def main() -> int:
    """Do what the command line says; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    parser.add_argument("promises", nargs="*", metavar="PROMISE", help="only the patches of these")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE}, and try nothing")
    arguments = parser.parse_args()
    if unknown := set(arguments.promises) - set(PROMISES):
        parser.error(
            f"no such promise: {', '.join(sorted(unknown))}; there are {', '.join(PROMISES)}"
        )
    if arguments.write:
        (ROOT / PAGE).write_text(page(PATCHES), encoding="utf-8")
        return 0

    promises = arguments.promises or list(PROMISES)
    patches = [patch for patch in PATCHES if patch.promise in promises]
    try:
        for patch in patches:
            patch.check(ROOT)
        results = trio.run(prove, patches, Progress(len(patches)))
    except (PatchError, ProofError) as error:
        print(error, file=sys.stderr)
        return 1
    print(file=sys.stderr)
    print(table(results))
    missing = too_few(patches, promises)
    print(f"\n{sum(result.good for result in results)} of {len(results)} patches caught")
    for sentence in missing:
        print(sentence)
    return 0 if not missing and all(result.good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
