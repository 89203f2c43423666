"""Pacing, and the governor in a simulated machine whose time is proportional to tiles."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.errors import ConfigError
from edgecrack.runtime.pipeline.inspection import FULL, Effort, Governor, Pacer


def tiles(effort: Effort) -> float:
    """A frame of 12 tiles, of 9 without overlap."""
    return max(1.0, (12 if effort.overlap_px is None else 9) / effort.share)


def after(governor: Governor, ms_per_tile: float, frames: int) -> Effort:
    for _ in range(frames):
        governor.note(ms_per_tile * tiles(governor.effort))
    return governor.effort


def test_a_machine_that_keeps_up_inspects_everything() -> None:
    assert after(Governor(10, tiles), 8.0, 200) == FULL


def test_the_steps_come_in_the_stated_order() -> None:
    governor = Governor(10, tiles)
    seen = [governor.effort]
    for _ in range(200):
        governor.note(60.0 * tiles(governor.effort))
        if governor.effort != seen[-1]:
            seen.append(governor.effort)
    assert seen == [FULL, Effort(0), Effort(0, 2), Effort(0, 3), Effort(0, 4)]
    assert [effort.name for effort in seen] == [
        "nothing",
        "the overlap of tiles",
        "every second tile",
        "2 of 3 tiles",
        "3 of 4 tiles",
    ]


def test_it_stops_where_the_rate_is_reached() -> None:
    assert after(Governor(10, tiles), 10.5, 200) == Effort(0)  # 126 ms whole, 94.5 without overlap
    assert after(Governor(10, tiles), 20.0, 200) == Effort(0, 2)  # 180 ms, 90 by halves


def test_it_goes_back_when_the_machine_is_fast_again() -> None:
    governor = Governor(10, tiles)
    assert after(governor, 40.0, 200) != FULL
    assert after(governor, 5.0, 200) == FULL


def test_it_does_not_swing_to_and_fro() -> None:
    governor = Governor(10, tiles)
    after(governor, 10.5, 200)
    changes = 0
    for _ in range(500):
        changes += governor.note(10.5 * tiles(governor.effort))
    assert changes == 0


def test_a_change_of_size_that_makes_a_step_useless_does_not_stick() -> None:
    frame_tiles = [12.0]

    def tiles_now(effort: Effort) -> float:
        return max(1.0, frame_tiles[0] / effort.share)

    governor = Governor(10, tiles_now)
    for _ in range(200):
        governor.note(50.0 * tiles_now(governor.effort))
    assert governor.effort.share == 4
    frame_tiles[0] = 2.0  # now a quarter and a third of the tiles are as few as a half
    for _ in range(200):
        governor.note(5.0 * tiles_now(governor.effort))
    assert governor.effort == FULL


def test_one_slow_frame_changes_nothing() -> None:
    governor = Governor(10, tiles)
    after(governor, 5.0, 50)
    governor.note(900.0)
    assert after(governor, 5.0, 3) == FULL


def test_a_step_that_saves_nothing_is_left_out() -> None:
    def same(effort: Effort) -> float:
        return 8 / effort.share

    governor = Governor(10, same)
    seen = {governor.effort}
    for _ in range(200):
        governor.note(30.0 * same(governor.effort))
        seen.add(governor.effort)
    assert Effort(0) not in seen
    assert Effort(0, 2) in seen


def test_a_frame_of_one_tile_is_always_inspected_whole() -> None:
    governor = Governor(10, lambda effort: 1.0)
    for _ in range(50):
        governor.note(500.0)
    assert governor.effort == FULL


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), 5000.0])
def test_a_rate_that_is_none(rate_hz: float) -> None:
    with pytest.raises(ConfigError, match="target rate"):
        Governor(rate_hz, tiles)


class TestPacer:
    @pytest.mark.parametrize(
        ("camera_hz", "rate_hz", "expected"),
        [(30, 10, 10), (30, 30, 30), (25, 30, 25), (30, 20, 20), (60, 7, 7)],
    )
    def test_it_takes_the_rate_asked_for(self, camera_hz: int, rate_hz: int, expected: int) -> None:
        pacer = Pacer(rate_hz)
        seconds = 20
        taken = sum(
            pacer.takes(round(1e9 + index * 1e9 / camera_hz))
            for index in range(camera_hz * seconds)
        )
        assert taken / seconds == pytest.approx(expected, rel=0.1)

    @given(st.lists(st.integers(0, 10**9), min_size=2, max_size=200), st.integers(1, 100))
    def test_never_much_more_than_the_rate(self, gaps_ns: list[int], rate_hz: int) -> None:
        pacer = Pacer(rate_hz)
        now_ns, taken_ns = 0, []
        for gap_ns in gaps_ns:
            now_ns += gap_ns
            if pacer.takes(now_ns):
                taken_ns.append(now_ns)
        allowed = math.ceil((taken_ns[-1] - taken_ns[0]) / 1e9 * rate_hz / 0.4) + 2
        assert len(taken_ns) <= allowed

    def test_after_a_pause_there_is_no_burst(self) -> None:
        pacer = Pacer(10)
        assert pacer.takes(0)
        start_ns = 60 * 10**9
        taken = [pacer.takes(start_ns + index * 10**7) for index in range(100)]  # 1 s at 100 Hz
        assert 8 <= sum(taken) <= 12
