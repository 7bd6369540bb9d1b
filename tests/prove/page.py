"""The table as a page of the docs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.prove.patch import Patch
from tests.prove.promises import PROMISES

PAGE = "docs/explanation/promises.md"

HEAD = """\
# What is promised, and how we know

<!-- Written by `make docs` from tests/prove; do not edit. -->

Each promise has tests.
To know that they would notice, `make prove` takes copies of the package,
replaces one line in each, and sees the test that is named beside it fail.
"""


def page(patches: Iterable[Patch]) -> str:
    """The page for these patches."""
    lines = [HEAD, "| promise | what it says |", "|---|---|"]
    lines += [f"| [{name}](#{name}) | {says} |" for name, says in PROMISES.items()]
    patches = list(patches)
    for promise in PROMISES:
        lines += ["", f"## {promise}", "", "| what is broken | the line | instead | noticed by |"]
        lines += ["|---|---|---|---|"]
        lines += [_row(patch) for patch in patches if patch.promise == promise]
    return "\n".join(lines) + "\n"


def _row(patch: Patch) -> str:
    where = f"`{patch.file}`" + (f", `{patch.within}`" if patch.within else "")
    tests = "<br>".join(f"`{test}`" for test in patch.tests)
    cells = [patch.breaks, f"{where}<br>{_code(patch.old)}", _code(patch.new), tests]
    return "| " + " | ".join(_cells(cells)) + " |"


def _code(line: str) -> str:
    return f"`{line.strip()}`"


def _cells(cells: Iterable[str]) -> Iterator[str]:
    return (cell.replace("|", "\\|") for cell in cells)
