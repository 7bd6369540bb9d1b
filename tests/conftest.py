"""What holds for every test: generated examples are the same in each run, and none is timed."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile(
    "steady",
    # What a change breaks, it breaks in every run; and a busy machine breaks nothing.
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("steady")
