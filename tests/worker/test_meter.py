"""What the engine's steps say of its speed."""

import pytest

from worker.engine.engine import LastStep
from worker.meter import Meter, Speed


def stepped(meter: Meter, *, places: int, computed: int, seconds: float, times: int = 100) -> None:
    for _ in range(times):
        meter.step(LastStep(rows=places, places=places, computed=computed), seconds)


def test_an_engine_that_has_made_no_step_has_no_speed() -> None:
    assert Meter().speed == Speed(0.0, 0.0, 0.0)


def test_the_pace_is_that_of_full_steps_however_many_small_ones_follow() -> None:
    meter = Meter()
    stepped(meter, places=32, computed=32, seconds=0.16)
    stepped(meter, places=1, computed=1, seconds=0.02)
    speed = meter.speed
    assert speed.pace == pytest.approx(200)
    assert speed.full_step == pytest.approx(0.16)
    assert speed.lone_step == pytest.approx(0.02)
    assert meter.seconds == pytest.approx(0.02, rel=0.01), "of a step, lately"


def test_places_that_nobody_wants_are_no_pace() -> None:
    meter = Meter()
    stepped(meter, places=17, computed=32, seconds=0.16)
    assert meter.speed.pace == pytest.approx(17 / 0.16)


def test_a_pace_that_changes_is_followed() -> None:
    meter = Meter()
    stepped(meter, places=8, computed=8, seconds=0.1)
    stepped(meter, places=8, computed=8, seconds=0.2)
    assert meter.speed.pace == pytest.approx(40, rel=0.01)
