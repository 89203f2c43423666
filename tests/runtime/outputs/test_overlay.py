from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgecrack.images.ignored import IgnoredPixels
from edgecrack.runtime.outputs.overlay import HATCH, OUTLINE, TINT, caption, draw_overlay
from tests.runtime.fakes import frame, picture, result_of


def test_cracks_are_tinted_outlined_and_boxed_and_the_rest_is_left_alone() -> None:
    image = picture(3, (70, 120))  # too small for a caption
    result = result_of(frame(3, image))
    before = image.copy()
    drawn = draw_overlay(result)
    assert np.array_equal(image, before)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    (left, top, right, bottom) = result.regions[0].xyxy
    mixed = drawn[(top + bottom) // 2, (left + right) // 2].astype(int)
    assert np.all(np.abs(mixed - np.array(TINT)) < np.abs(250 - np.array(TINT)) + 1)
    assert mixed[2] > mixed[0] + 60
    assert tuple(drawn[top - 1, left + 2]) == OUTLINE
    changed = np.any(drawn != image, axis=2)
    assert not changed[bottom + 5 :].any()
    assert not changed[:, right + 5 :].any()


def test_without_cracks_only_the_caption_strip_changes() -> None:
    drawn = draw_overlay(result_of(frame(0, np.full((480, 640, 3), 90, np.uint8))))
    changed = np.any(drawn != 90, axis=2)
    assert not changed[:440].any()
    assert changed[470:].mean() > 0.99  # the rim of a letter may happen to be 90


@pytest.mark.parametrize("hw", [(1, 1), (2, 3), (17, 400), (400, 17), (480, 854), (2160, 3840)])
def test_any_size_is_drawn(hw: tuple[int, int]) -> None:
    image = np.zeros((*hw, 3), np.uint8)
    image[:, : max(1, hw[1] // 2)] = 255
    assert draw_overlay(result_of(frame(0, image))).shape == (*hw, 3)


def test_cracks_at_the_border_are_drawn() -> None:
    image = np.full((60, 80, 3), 255, np.uint8)
    assert np.all(draw_overlay(result_of(frame(0, image)))[5:-5, 5:-5, 2] > 200)


def test_caption_tells_the_time_of_the_picture() -> None:
    result = result_of(frame(3))
    assert caption(result) == "000003  0:00.1  crack 84 px in 1 region  12 ms"
    live = dataclasses.replace(result.frame, live=True, media_time_ms=None)
    assert caption(dataclasses.replace(result, frame=live)).split("  ")[1:] == [
        "22:13:20Z",
        "crack 84 px in 1 region",
        "12 ms",
    ]
    still = dataclasses.replace(result.frame, media_time_ms=None, name="wall")
    assert caption(dataclasses.replace(result, frame=still)).startswith("wall  crack")


def test_a_name_that_the_font_lacks_is_drawn_all_the_same() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    assert draw_overlay(result_of(frame(0, image, name="стена-壁"))).shape == image.shape


def test_what_is_ignored_is_darkened_and_hatched_and_the_rest_left_alone() -> None:
    image = np.full((480, 640, 3), 90, np.uint8)
    mask = np.zeros((480, 640), np.bool_)
    mask[100:300, 200:600] = True
    result = result_of(frame(0, image))
    ignored = dataclasses.replace(result, ignored=IgnoredPixels(mask), inspected_ratio=0.74)
    drawn, plain = draw_overlay(ignored), draw_overlay(result)
    above = np.s_[:400]  # the caption's strip lies below
    np.testing.assert_array_equal(drawn[above][~mask[above]], plain[above][~mask[above]])
    inside = drawn[mask]
    hatched = (inside == HATCH).all(axis=1)
    assert 0.03 < hatched.mean() < 0.15
    assert (inside[~hatched] == 45).all()
    assert (drawn[100, 200:600] == HATCH).all()  # its outline
    assert (image == 90).all()


@pytest.mark.parametrize("hw", [(1, 2), (3, 3), (17, 400), (1080, 1920)])
def test_a_part_of_any_size_is_shaded(hw: tuple[int, int]) -> None:
    image = np.full((*hw, 3), 90, np.uint8)
    mask = np.zeros(hw, np.bool_)
    mask[-1, -1] = True
    result = dataclasses.replace(result_of(frame(0, image)), ignored=IgnoredPixels(mask))
    drawn = draw_overlay(result)
    assert drawn.shape == (*hw, 3)
    assert tuple(drawn[-1, -1]) != (90, 90, 90)


@pytest.mark.parametrize(
    ("rows", "inspected_ratio", "words"),
    [
        (24, 0.5, ["50% ignored"]),
        (24, 0.2, ["50% ignored", "20% inspected"]),
        (0, 0.25, ["25% inspected"]),
        (0, 1.0, []),
    ],
)
def test_caption_tells_what_was_ignored_and_what_was_missed(
    rows: int, inspected_ratio: float, words: list[str]
) -> None:
    mask = np.zeros((48, 64), np.bool_)
    mask[:rows] = True
    result = dataclasses.replace(
        result_of(frame(3)),
        ignored=IgnoredPixels(mask) if rows else None,
        inspected_ratio=inspected_ratio,
    )
    assert caption(result).split("  ")[3:-1] == words


def test_a_little_that_is_ignored_is_not_nothing() -> None:
    mask = np.zeros((48, 64), np.bool_)
    mask[0, 0] = True
    ignored = IgnoredPixels(mask)
    result = dataclasses.replace(
        result_of(frame(3)), ignored=ignored, inspected_ratio=1 - ignored.ratio
    )
    assert "  1% ignored  " in caption(result)
