"""The package as those see it who install it."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata, resources


def test_the_types_are_offered_to_those_who_install_it() -> None:
    """Type checkers read a package's annotations only if it has this file."""
    assert resources.files("roomactors").joinpath("py.typed").is_file()


def test_the_extra_all_is_every_extra_that_users_have() -> None:
    """`roomactors[all]` brings what each single extra would, the project's own tools apart."""
    extras = set(metadata.metadata("roomactors").get_all("Provides-Extra") or ())
    assert {"all", "test", "dev", "bench"} <= extras
    requirements = metadata.requires("roomactors") or []
    of = {
        extra: {line.partition(";")[0] for line in requirements if f"extra == '{extra}'" in line}
        for extra in extras
    }
    for extra in extras - {"all", "test", "dev", "bench"}:
        assert of[extra] <= of["all"], extra


def test_the_package_runs_as_a_command_and_says_its_version() -> None:
    """`python -m roomactors` is the command line, without a warning on its error output."""
    command = [sys.executable, "-W", "error", "-m", "roomactors", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.split()[-1] == metadata.version("roomactors")
    assert said.stderr == ""
