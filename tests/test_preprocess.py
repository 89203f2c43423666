"""Preprocessing against its definition: gray, stretch and gamma by hand, CLAHE from OpenCV.

The stretch from minimum to maximum, that of models with a sidecar of version 1, and everything
that does not depend on the stretch. `test_stretch.py` has the other one.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.preprocess import PreprocessConfig
from edgecrack.preprocess import preprocess as preprocess_as

Image = NDArray[np.uint8]
MINMAX = PreprocessConfig(stretch="minmax")
SIZES = [(1, 1), (1, 9), (7, 5), (64, 64), (37, 90)]


def preprocess(frame: Any, config: PreprocessConfig = MINMAX) -> Image:
    return preprocess_as(frame, config)


def slow_stretch(gray: Image) -> Image:
    """Lowest to 0, highest to 255, in exact fractions; a flat image becomes 0."""
    lowest, highest = int(gray.min()), int(gray.max())
    result = np.zeros_like(gray)
    if highest > lowest:
        for place in np.ndindex(*gray.shape):
            result[place] = round(Fraction(255 * (int(gray[place]) - lowest), highest - lowest))
    return result


def slow_gamma(gray: Image, gamma: float) -> Image:
    result = np.zeros_like(gray)
    for place in np.ndindex(*gray.shape):
        result[place] = round(255 * (int(gray[place]) / 255) ** (1 / gamma))
    return result


def slow_preprocess(gray: Image, config: PreprocessConfig) -> Image:
    result = slow_stretch(gray)
    if config.clahe_clip > 0:
        grid = (config.clahe_grid, config.clahe_grid)
        clahe = cv2.createCLAHE(clipLimit=config.clahe_clip, tileGridSize=grid)
        result = np.asarray(clahe.apply(result), dtype=np.uint8)
    return slow_gamma(result, config.gamma)


def noise(*shape: int, low: int = 0, high: int = 255, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(low, high + 1, shape, dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("levels", [(0, 255), (90, 130), (12, 13), (3, 200)])
def test_equals_the_definition_on_gray(size: tuple[int, int], levels: tuple[int, int]) -> None:
    gray = noise(*size, low=levels[0], high=levels[1])
    np.testing.assert_array_equal(preprocess(gray), slow_preprocess(gray, MINMAX))


@pytest.mark.parametrize(
    "config",
    [
        replace(MINMAX, gamma=0.1),
        replace(MINMAX, gamma=10),
        replace(MINMAX, gamma=1),
        replace(MINMAX, clahe_clip=40),
        replace(MINMAX, clahe_clip=0.01),
        replace(MINMAX, clahe_clip=0),
        replace(MINMAX, clahe_clip=0, gamma=1),
        replace(MINMAX, clahe_grid=1),
        replace(MINMAX, clahe_grid=64),
    ],
    ids=str,
)
def test_follows_its_configuration(config: PreprocessConfig) -> None:
    gray = noise(50, 70, low=30, high=180)
    np.testing.assert_array_equal(preprocess(gray, config), slow_preprocess(gray, config))


def test_gray_weighs_the_colours_as_the_eye_does() -> None:
    """Pure colours between black and white, so that stretching changes nothing."""
    blue, green, red = round(0.114 * 255), round(0.587 * 255), round(0.299 * 255)
    colours = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    levels = [0, blue, green, red, 255]
    places = noise(24, 32, high=4)
    frame = np.array(colours, dtype=np.uint8)[places]
    gray = np.array(levels, dtype=np.uint8)[places]
    np.testing.assert_array_equal(preprocess(frame), preprocess(gray))


def test_gray_of_any_colour_is_within_one_level_of_the_weights() -> None:
    """Random colours beside black and white; neither CLAHE nor gamma."""
    config = replace(MINMAX, clahe_clip=0, gamma=1)
    frame = noise(48, 48, 3, seed=4)
    frame[0, 0], frame[0, 1] = 0, 255
    exact = np.zeros((48, 48))
    for y, x in np.ndindex(48, 48):
        blue, green, red = (int(value) for value in frame[y, x])
        exact[y, x] = 0.299 * red + 0.587 * green + 0.114 * blue
    gray = np.rint(exact).astype(np.uint8)
    np.testing.assert_array_equal(preprocess(gray, config), gray)
    assert np.abs(preprocess(frame, config) - exact).max() <= 1


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24))))
def test_gray_is_the_same_as_equal_channels(gray: Image) -> None:
    np.testing.assert_array_equal(preprocess(np.dstack([gray] * 3)), preprocess(gray))


@given(
    hnp.arrays(np.uint8, (11, 13), elements=st.integers(0, 100)),
    st.integers(0, 155),
)
def test_brightness_does_not_matter(gray: Image, brighter: int) -> None:
    np.testing.assert_array_equal(preprocess(gray + np.uint8(brighter)), preprocess(gray))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_a_flat_frame_stays_flat_and_its_level_does_not_matter(
    size: tuple[int, int], level: int
) -> None:
    gray = np.full(size, level, dtype=np.uint8)
    frame = np.full((*size, 3), level, dtype=np.uint8)
    result = preprocess(gray)
    assert len(np.unique(result)) == 1
    np.testing.assert_array_equal(result, preprocess(np.zeros(size, dtype=np.uint8)))
    np.testing.assert_array_equal(result, preprocess(frame))


@pytest.mark.parametrize("shape", [*SIZES, (64, 48, 3), (1, 1, 3), (5, 300, 3)])
def test_gives_new_bytes_of_the_frame_s_size(shape: tuple[int, ...]) -> None:
    frame = noise(*shape)
    before = frame.copy()
    result = preprocess(frame)
    assert result.dtype == np.uint8
    assert result.shape == shape[:2]
    assert result.flags.c_contiguous
    assert not np.shares_memory(result, frame)
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize(
    "view",
    [
        np.s_[:, ::-1],
        np.s_[::-1],
        np.s_[::2, 1::3],
        np.s_[..., ::-1],
        np.s_[..., 1],
        np.s_[5:30, 7:20],
    ],
    ids=str,
)
def test_a_view_gives_what_its_copy_gives(view: Any) -> None:
    frame = noise(40, 50, 3)
    frame.setflags(write=False)
    np.testing.assert_array_equal(preprocess(frame[view]), preprocess(frame[view].copy()))


def test_is_deterministic_whatever_the_number_of_threads() -> None:
    frame, threads = noise(200, 300, 3), cv2.getNumThreads()
    results = []
    try:
        for count in (1, 4, 4):
            cv2.setNumThreads(count)
            results.append(preprocess(frame))
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


def test_a_real_frame_equals_the_definition(data_folder: Path) -> None:
    paths = sorted((data_folder / "cfd" / "images").glob("*.jpg"))[:2]
    if not paths:
        pytest.skip(f"{data_folder} holds no cfd/images")
    for path in paths:
        frame = np.asarray(cv2.imread(str(path)), dtype=np.uint8)
        gray = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        result = preprocess(frame)
        np.testing.assert_array_equal(result, slow_preprocess(gray, MINMAX))
        # A crack is a narrow dark line: contrast must have grown, not shrunk.
        assert result.std() > gray.std()


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4), dtype=np.float32),
        np.zeros((4, 4, 3), dtype=np.int16),
        np.zeros((4, 4), dtype=np.uint32),
        np.zeros((4, 4), dtype=np.int8),
        np.zeros((4, 4), dtype=np.bool_),
        np.zeros((4, 4, 4), dtype=np.uint8),
        np.zeros((4, 4, 1), dtype=np.uint8),
        np.zeros((3, 4, 4), dtype=np.uint8),
        np.zeros((2, 4, 4, 3), dtype=np.uint8),
        np.zeros(16, dtype=np.uint8),
        np.zeros((), dtype=np.uint8),
        np.zeros((0, 4), dtype=np.uint8),
        np.zeros((4, 0, 3), dtype=np.uint8),
    ],
    ids=lambda frame: f"{frame.dtype} {frame.shape}",
)
def test_what_is_no_frame_is_refused_with_its_shape(frame: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        preprocess(frame)
    assert str(frame.shape) in caught.value.problem
    assert caught.value.remedy.startswith("give ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clahe_clip", -1.0),
        ("clahe_clip", 100.5),
        ("clahe_clip", float("nan")),
        ("clahe_grid", 0),
        ("clahe_grid", 65),
        ("clahe_grid", 8.5),
        ("clahe_grid", 8.0),
        ("clahe_grid", True),
        ("gamma", 0.0),
        ("gamma", 0.09),
        ("gamma", 10.1),
        ("gamma", float("inf")),
        ("gamma", float("nan")),
        ("stretch", "median"),
        ("stretch_margin", -0.1),
        ("stretch_margin", 10.5),
        ("stretch_margin", float("nan")),
    ],
)
def test_a_configuration_out_of_range_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{field} is '?{value}'?; give"):
        PreprocessConfig(**{field: value})


def test_defaults_are_the_design_s_and_come_back_from_their_dictionary() -> None:
    config = PreprocessConfig()
    assert config.to_dict() == {
        "clahe_clip": 2.0,
        "clahe_grid": 8,
        "gamma": 1.2,
        "stretch": "percentile",
        "low_percentile": 0.2,
        "high_percentile": 99.8,
        "stretch_margin": 0.1,
    }
    assert PreprocessConfig(**config.to_dict()) == config  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("low", "high"), [(5, 5), (95, 5), (-1, 95), (5, 100.5), (float("nan"), 95), (5, float("nan"))]
)
def test_percentiles_out_of_order_are_refused(low: float, high: float) -> None:
    with pytest.raises(ConfigError, match=f"the percentiles are {low} and {high}; give two"):
        PreprocessConfig(low_percentile=low, high_percentile=high)
