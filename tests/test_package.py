"""The package as those see it who install it."""

from __future__ import annotations

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
