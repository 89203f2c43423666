from __future__ import annotations

import json
import zlib
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.images.ignored import IgnoredPixels
from edgecrack.measurement.regions import measure_cracks
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.web.page_state import (
    FAINTEST,
    PagePicture,
    overlay_jpeg,
    page_picture,
    stale_jpeg,
)
from tests.runtime.fakes import frame, picture, result_of

Image = NDArray[np.uint8]


def opened(message: bytes) -> tuple[dict[str, Any], Image, Image]:
    """Header, frame and map of a message, as the page takes it apart."""
    length = int.from_bytes(message[:4], "big")
    header = json.loads(message[4 : 4 + length])
    body = message[4 + length :]
    jpeg = body[: header["jpeg_bytes"]]
    packed = body[len(jpeg) : len(jpeg) + header["map_bytes"]]
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    rows = np.frombuffer(zlib.decompress(packed), np.uint8)
    shape = (header["height"], header["width"])
    return header, np.asarray(image, np.uint8), rows.reshape(shape)


def message_of(made: PagePicture) -> bytes:
    return made.message(7, 12.4, 2000.0)


def test_a_message_holds_the_frame_the_map_and_what_is_said_of_them() -> None:
    result = result_of(frame(3))
    header, image, crack = opened(message_of(page_picture(result)))
    assert (header["number"], header["age_ms"], header["stale_after_ms"]) == (7, 12, 2000)
    assert (header["frame"], header["crack_pixels"]) == (3, result.crack_pixels)
    assert (header["threshold"], header["level"]) == (0.5, 128)
    assert image.shape == result.frame.image.shape
    assert np.abs(image.astype(int) - result.frame.image).mean() < 3
    expected = np.where(result.probability < FAINTEST, 0, result.probability)
    np.testing.assert_array_equal(crack, expected)


def test_the_map_decides_as_the_robot_does() -> None:
    generator = np.random.default_rng(5)
    values = np.asarray(generator.integers(0, 256, (60, 80)), np.uint8)
    result = replace(result_of(frame(0, picture(0, (60, 80)))), probability=values)
    _, _, crack = opened(message_of(page_picture(result)))
    for threshold in (0.05, 0.31, 0.5, 0.6, 0.95):
        mask = measure_cracks(values, threshold, 0).mask
        level = max(1, -(-round(255 * threshold * 1e6) // 1_000_000))
        np.testing.assert_array_equal(crack >= level, mask > 0)


def test_the_frame_is_the_jpeg_that_others_take_too() -> None:
    result = result_of(frame(0))
    jpeg = result.jpeg()
    assert page_picture(result).body.startswith(jpeg)
    camera = replace(result, frame=replace(result.frame, jpeg=jpeg + b"\x00"))
    assert page_picture(camera).body.startswith(jpeg + b"\x00")


def wide_result() -> FrameResult:
    image = np.full((1080, 1920, 3), 90, np.uint8)
    image[:, 1001] = 255  # a crack of one pixel
    return result_of(frame(0, image))


def test_wide_frames_are_shrunk_and_thin_cracks_are_not_lost() -> None:
    header, image, crack = opened(message_of(page_picture(wide_result())))
    assert image.shape == (720, 1280, 3)
    assert crack.shape == (720, 1280)
    assert (header["width"], header["height"]) == (1280, 720)
    assert (crack.max(axis=1) == 255).all()
    column = int(crack[0].argmax())
    assert column == pytest.approx(1001 * 1280 / 1920, abs=1.5)


@pytest.mark.parametrize("hw", [(1, 1), (1, 2000), (3, 1281), (2000, 3)])
def test_odd_sizes(hw: tuple[int, int]) -> None:
    image = np.full((*hw, 3), 120, np.uint8)
    header, shown, crack = opened(message_of(page_picture(result_of(frame(0, image)))))
    assert shown.shape[:2] == crack.shape == (header["height"], header["width"])
    assert crack.shape[1] <= 1280


def test_players_get_the_overlay_and_a_mark_on_what_is_old() -> None:
    result = result_of(frame(9, picture(9, (240, 320))))
    overlay = cv2.imdecode(np.frombuffer(overlay_jpeg(result), np.uint8), cv2.IMREAD_COLOR)
    stale = cv2.imdecode(np.frombuffer(stale_jpeg(result, 4200), np.uint8), cv2.IMREAD_COLOR)
    assert overlay is not None
    assert stale is not None
    assert overlay.shape == stale.shape == (240, 320, 3)
    spread = np.ptp(np.asarray(overlay, int), axis=2)
    assert spread.max() > 100  # tinted
    assert np.ptp(np.asarray(stale, int), axis=2).max() < 20  # gray
    assert stale.mean() < overlay.mean()
    wide = cv2.imdecode(np.frombuffer(overlay_jpeg(wide_result()), np.uint8), cv2.IMREAD_COLOR)
    assert wide is not None
    assert wide.shape == (720, 1280, 3)


@pytest.mark.parametrize(("hw", "shown_hw"), [((61, 83), (61, 83)), ((1080, 1920), (720, 1280))])
def test_what_is_ignored_comes_with_the_picture(
    hw: tuple[int, int], shown_hw: tuple[int, int]
) -> None:
    mask = np.zeros(hw, np.bool_)
    mask[hw[0] // 2 :, : hw[1] // 3] = True
    ignored = IgnoredPixels(mask)
    result = replace(
        result_of(frame(0, picture(0, hw))), ignored=ignored, inspected_ratio=0.5 - ignored.ratio
    )
    made = page_picture(result)
    header, _, crack = opened(message_of(made))
    assert crack.shape == shown_hw
    assert header["ignored_ratio"] == round(ignored.ratio, 4)
    assert header["missed_ratio"] == 0.5
    rest = made.body[header["jpeg_bytes"] + header["map_bytes"] :]
    bits = np.unpackbits(np.frombuffer(zlib.decompress(rest), np.uint8), count=crack.size)
    expected = cv2.resize(mask.view(np.uint8), shown_hw[::-1], interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(bits.reshape(shown_hw), np.asarray(expected))
    assert len(rest) < 2000


def test_a_picture_of_which_nothing_is_ignored_ends_with_its_map() -> None:
    made = page_picture(result_of(frame(3)))
    assert len(made.body) == made.header["jpeg_bytes"] + made.header["map_bytes"]
    assert (made.header["ignored_ratio"], made.header["missed_ratio"]) == (0, 0)
