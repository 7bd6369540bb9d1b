"""How often one connection may broadcast."""

from __future__ import annotations

import pytest

from roomactors.server.rate import BURST_SECONDS, TokenBucket

RATES = [0.1, 0.3, 1, 3, 7, 99.9, 100, 12345]


def used_up(rate: float, now: float = 0.0) -> TokenBucket:
    """A bucket of which the burst has been used at this moment."""
    bucket = TokenBucket(rate, now)
    while not bucket.take(now):
        pass
    return bucket


@pytest.mark.parametrize("rate", RATES)
def test_so_many_at_once_and_then_no_more(rate: float) -> None:
    """Two seconds' worth, and at least one."""
    bucket = TokenBucket(rate, 5.0)
    taken = 0
    while not bucket.take(5.0):
        taken += 1
    assert taken == max(1, int(rate * BURST_SECONDS))


@pytest.mark.parametrize("rate", RATES)
def test_who_waits_as_long_as_told_gets_one(rate: float) -> None:
    """A thousand times in a row, whatever floats make of it."""
    bucket, now = used_up(rate), 0.0
    for _ in range(1000):
        wait = bucket.take(now)
        assert 0 < wait <= 1 / rate + 1e-9
        now += wait
        assert bucket.take(now) == 0


@pytest.mark.parametrize("rate", RATES[:-1])
def test_in_the_long_run_there_is_one_rate(rate: float) -> None:
    """Asked ten times as often as it allows, it allows the rate and the burst."""
    bucket = TokenBucket(rate, 0.0)
    taken = sum(not bucket.take(step / (10 * rate)) for step in range(10_001))
    assert taken == pytest.approx(1000 + max(1, rate * BURST_SECONDS), abs=2)


def test_more_than_the_burst_is_never_saved_up() -> None:
    """However long nothing was sent."""
    bucket = TokenBucket(10, 0.0)
    assert bucket.take(1e6) == 0
    taken = 1
    while not bucket.take(1e6):
        taken += 1
    assert taken == 20


def test_a_debt_is_paid_by_waiting() -> None:
    """Used though not there, each costs its time; within the burst nothing is owed."""
    bucket = TokenBucket(2, 0.0)
    assert [bucket.overdraw(0.0) for _ in range(6)] == [0, 0, 0, 0, 0.5, 1.0]
    assert bucket.overdraw(1.0) == 0.5
    assert bucket.overdraw(1.5) == 0.5
    assert bucket.overdraw(100.0) == 0


def test_excess_lasts_from_the_first_refusal_until_the_burst_is_whole() -> None:
    """And begins anew with the next refusal."""
    bucket = used_up(10, 3.0)
    assert bucket.excess_seconds(3.0) == 0
    assert bucket.take(4.0) == 0
    assert bucket.excess_seconds(4.5) == 1.5
    while not bucket.take(4.5):
        pass
    assert bucket.excess_seconds(6.0) == 3
    assert bucket.take(7.0) == 0
    assert bucket.excess_seconds(7.0) == 0
