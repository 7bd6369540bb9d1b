"""What is left of a run: a table for the terminal, and `bench.json` with all that was measured."""

import datetime as dt
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from tests.benchmarks.plan import Bench, Claim, Fact, Results
from tests.benchmarks.processes import machine
from tests.benchmarks.quantiles import median
from tests.benchmarks.servers import ROOT, SERVERS

FILE: Final = "bench.json"
_PACKAGES: Final = ("roomactors", "trio", "trio-websocket", "wsproto", "msgspec", "attrs")

Origin = dict[str, Any]  # where numbers come from: machine, versions, command, date


def number(value: float) -> str:
    """Return a value in at most four significant digits."""
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def claims_table(bench: Bench, claims: list[Claim]) -> Table:
    """Return what is asked of one scenario: median, lowest and highest repetition, verdict."""
    made = Table(title=bench.title, title_justify="left", expand=False)
    made.add_column("what", overflow="fold")
    for name in ("median", "lowest", "highest"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("unit", no_wrap=True)
    made.add_column("wanted", no_wrap=True)
    made.add_column("", no_wrap=True)
    for claim in claims:
        made.add_row(
            claim.text,
            number(claim.value),
            number(min(claim.values)),
            number(max(claim.values)),
            claim.unit,
            f"{claim.better} {claim.target:g}",
            "[green]met[/]" if claim.met else "[bold red]missed[/]",
        )
    return made


def facts_table(facts: list[Fact]) -> Table:
    """Return what was measured, a column for each server: medians."""
    made = Table(expand=False)
    made.add_column("medians", overflow="fold")
    headings = list(dict.fromkeys(heading for fact in facts for heading in fact.values))
    for heading in headings:
        made.add_column(heading, justify="right")
    made.add_column("unit", no_wrap=True)
    for fact in facts:
        cells = (fact.values.get(heading) for heading in headings)
        made.add_row(
            fact.text, *(number(median(cell)) if cell else "" for cell in cells), fact.unit
        )
    return made


def origin(command: str, repetitions: int, *, quick: bool) -> Origin:
    """Return where the numbers of this run come from."""
    return {
        "command": command,
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "repetitions": repetitions,
        "quick": quick,
        "machine": machine(),
        "versions": {
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "commit": _commit(),
            **{name: _version(name) for name in _PACKAGES},
        },
        "servers": {server.name: server.summary for server in SERVERS},
    }


def origin_line(where: Origin) -> str:
    """Return the same as a line for below a picture or a table."""
    host, versions = where["machine"], where["versions"]
    return (
        f"{host['processor']}, {host['cores']} cores, {host['kernel']}; {versions['python']}, "
        f"trio {versions['trio']}; repetitions: {where['repetitions']}, {where['date']}; "
        f"other programs used {where['others_percent']} % of the cores; {where['command']}"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from the checkout"


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
    )
    return done.stdout.strip() or "unknown"


def write(
    folder: Path, where: Origin, measured: list[tuple[Bench, Results, list[Claim]]]
) -> dict[str, object]:
    """Write what was measured into `bench.json`; scenarios that were not run stay as they were.

    Returns:
      All that is in the file now, by scenario.
    """
    path = folder / FILE
    kept: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
    for bench, results, claims in measured:
        kept[bench.name] = {
            "title": bench.title,
            "covers": bench.covers.strip(),
            "claims": [
                {
                    "text": claim.text,
                    "unit": claim.unit,
                    "median": claim.value,
                    "values": claim.values,
                    "better": claim.better,
                    "target": claim.target,
                    "met": claim.met,
                }
                for claim in claims
            ],
            "measured": {
                f"{server} {variant}".strip(): found
                for (server, variant), found in results.of.items()
            },
            "origin": where,
        }
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n")
    return kept
