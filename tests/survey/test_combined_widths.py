from __future__ import annotations

import numpy as np
import pytest

from edgecrack.measurement.width import Width
from edgecrack.survey.combined_widths import SeenRow, combined_width

LINE = (np.array([[0.0, 0.0], [200.0, 0.0]]),)


def _width(value: float, noise: float = 0.2, depth: float = 0.1) -> Width:
    reach = 1.96 * float(np.hypot(noise, depth))
    return Width(
        value, value - reach, value + reach, True,
        noise_px=noise, depth_px=depth, blur_px=0.05, step_px=0.0,
    )  # fmt: skip


def _rows(frames: int, value: float, fineness: float = 1.0, first: int = 0) -> list[SeenRow]:
    return [
        SeenRow(frame, (float(x), 1.0), _width(value), fineness)
        for frame in range(first, first + frames)
        for x in range(5, 200, 10)
    ]


def test_frames_average_noise_and_not_what_they_have_in_common() -> None:
    one, many = (combined_width(LINE, _rows(frames, 3.0)) for frames in (1, 8))
    assert one is not None
    assert many is not None
    assert one.px.mean.value == pytest.approx(3.0)
    assert (one.places, many.places) == (20, 20)
    assert many.frames == tuple(range(8))
    assert many.px.mean.terms["noise"] < 0.8 * one.px.mean.terms["noise"]
    assert many.px.mean.terms["depth"] == pytest.approx(one.px.mean.terms["depth"])
    # Half of the noise is the surface's own.
    assert many.px.mean.terms["noise"] > 0.7 * one.px.mean.terms["noise"]
    assert many.px.largest.high < one.px.largest.high


def test_the_finest_frames_count_in_the_sheet_s_pixels() -> None:
    coarse, fine = _rows(6, 1.6, 0.5), _rows(3, 6.0, 2.0, first=10)
    combined = combined_width(LINE, [*coarse, *fine])
    assert combined is not None
    assert combined.frames == (10, 11, 12)
    assert combined.px.mean.value == pytest.approx(3.0)


def test_surer_rows_count_more() -> None:
    rows = [
        SeenRow(0, (5.0, 0.0), _width(2.0, 0.1), 1.0),
        SeenRow(1, (5.0, 0.0), _width(3.0, 0.3), 1.0),
    ]
    combined = combined_width(LINE, rows)
    assert combined is not None
    assert combined.px.mean.value == pytest.approx(2.1)


def test_millimetres_need_a_scale_everywhere() -> None:
    scaled = [
        SeenRow(row.frame, row.xy, row.width, row.fineness, 0.5, {"scale": 0.02})
        for row in _rows(3, 4.0)
    ]
    combined = combined_width(LINE, scaled)
    assert combined is not None
    assert combined.mm is not None
    assert combined.mm.mean.value == pytest.approx(2.0)
    assert combined.mm.mean.terms["scale"] == pytest.approx(0.04)
    mixed = combined_width(LINE, [*scaled, *_rows(1, 4.0, first=5)])
    assert mixed is not None
    assert mixed.mm is None


def test_without_a_width_there_is_none() -> None:
    refused = Width(None, None, None, False, "too dark")
    assert combined_width(LINE, [SeenRow(0, (5.0, 0.0), refused, 1.0)]) is None
    assert combined_width(LINE, []) is None
