"""Every bound has a number, a unit and a reason, and takes no nonsense."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import attrs
import pytest

from roomactors.core.settings import HubSettings, RoomSettings

Make: TypeAlias = Callable[..., RoomSettings | HubSettings]

BOUNDS = [
    (kind, field)
    for kind in (RoomSettings, HubSettings)
    for field in attrs.fields(kind)
    if field.name != "room"
]


@pytest.mark.parametrize(("kind", "field"), BOUNDS, ids=lambda value: getattr(value, "name", ""))
class TestBound:
    def test_it_has_a_unit_and_a_reason(self, kind: Make, field: attrs.Attribute[float]) -> None:
        """A bound that cannot say why is no bound."""
        assert field.metadata["unit"].isalpha()
        assert len(field.metadata["reason"].split()) >= 4
        assert field.default is not None

    def test_its_least_value_is_taken_and_nothing_below(
        self, kind: Make, field: attrs.Attribute[float]
    ) -> None:
        """One below the least is an error that names the bound and its unit."""
        least = field.metadata["least"]
        assert getattr(kind(**{field.name: least}), field.name) == least
        with pytest.raises(
            ValueError, match=f"{field.name} is at least {least} {field.metadata['unit']}"
        ):
            kind(**{field.name: least - 1})

    @pytest.mark.parametrize("wrong", [True, "7", None])
    def test_what_is_no_number_is_an_error(
        self, kind: Make, field: attrs.Attribute[float], wrong: object
    ) -> None:
        """A string from a command line, or a flag, does not pass for a number."""
        with pytest.raises(TypeError, match=f"{field.name} is a number of"):
            kind(**{field.name: wrong})

    def test_what_is_counted_is_whole_and_what_is_measured_is_finite(
        self, kind: Make, field: attrs.Attribute[float]
    ) -> None:
        """Half a member is none; a time may be any, but not endless."""
        if isinstance(field.default, int):
            with pytest.raises(TypeError):
                kind(**{field.name: 64.5})
            return
        assert getattr(kind(**{field.name: 64.5}), field.name) == 64.5
        for wrong in (math.inf, math.nan):
            with pytest.raises(ValueError, match="at least"):
                kind(**{field.name: wrong})
