from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, ModelFileError
from edgecrack.nodata import with_mask
from edgecrack.preprocess import preprocess
from edgecrack.runtime import detector as detector_module
from edgecrack.runtime.detector import CrackDetector, open_detector
from edgecrack.runtime.live.overload import Effort
from edgecrack.runtime.runner import BUNDLED_MODEL, open_runner
from tests.margins import SHAPES, wall
from tests.runtime.models import IdentityRunner

Image = NDArray[np.uint8]


def photo(height: int, width: int) -> Image:
    generator = np.random.default_rng(4)
    image = generator.normal(140, 12, (height, width, 3)).clip(0, 255).astype(np.uint8)
    image[:, width // 2 : width // 2 + 3] = 25
    return image


@pytest.mark.parametrize(
    ("frame_hw", "tiles"),
    [
        ((1, 1), 1),
        ((40, 30), 1),  # smaller than a tile
        ((64, 64), 1),  # exactly a tile
        ((65, 64), 2),
        ((30, 200), 4),  # narrower than a tile, and longer
        ((500, 700), 165),
    ],
)
def test_a_frame_of_any_size_keeps_its_size_and_its_pixels(
    frame_hw: tuple[int, int], tiles: int
) -> None:
    runner = IdentityRunner((64, 64))
    detector = CrackDetector(runner, "identity")
    image = photo(*frame_hw)
    probability = detector.detect(image)
    # Preprocessed once, as a whole: cutting and stitching add nothing of their own.
    np.testing.assert_array_equal(probability, preprocess(image, runner.spec.preprocess))
    assert [len(call) for call in runner.calls] == [tiles]


def test_preprocessing_runs_once_per_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def counted(frame: Image, config: object) -> Image:
        seen.append(frame.shape)
        return preprocess(frame)

    monkeypatch.setattr(detector_module, "prepare", counted)
    CrackDetector(IdentityRunner((64, 64)), "identity").detect(photo(200, 300))
    assert seen == [(200, 300, 3)]


def test_prepare_and_infer_are_the_two_halves_of_detect() -> None:
    detector = CrackDetector(IdentityRunner(), "identity")
    image = photo(100, 130)
    np.testing.assert_array_equal(detector.infer(detector.prepare(image)), detector.detect(image))


@pytest.mark.parametrize(
    ("frame_hw", "effort", "tiles"),
    [
        ((256, 256), Effort(), 2),
        ((256, 256), Effort(0, 2), 2),  # one tile of each size is the least: nothing is saved
        ((480, 854), Effort(), 10),
        ((480, 854), Effort(0, 4), 3),
    ],
)
def test_tiles_that_an_effort_inspects_are_counted_by_size(
    frame_hw: tuple[int, int], effort: Effort, tiles: float
) -> None:
    detector = CrackDetector(IdentityRunner((256, 256)), "identity", scales=(1.0, 0.5))
    assert detector.tiles_of(frame_hw, effort) == tiles


def test_what_shows_nothing_is_no_crack_at_any_scale() -> None:
    detector = CrackDetector(IdentityRunner((64, 64)), "identity", scales=(1.0, 0.5))
    frame = np.dstack([wall(240, 320)] * 3)
    hidden = SHAPES["left"](240, 320)
    frame[hidden] = 0
    prepared = detector.prepare(frame)
    found = detector.infer(prepared)
    assert (found[hidden] == 0).all()
    assert (found[~hidden] >= np.asarray(prepared)[~hidden]).all()
    for turn in (0, 1):
        assert (detector.infer_some(prepared, Effort(0, 2), turn)[0][hidden] == 0).all()


@pytest.mark.parametrize("frame_hw", [(240, 320), (60, 64)])
def test_what_shows_nothing_is_no_crack(frame_hw: tuple[int, int]) -> None:
    """Neither the empty side of an orthophoto nor a transparent corner, whatever the network."""
    detector = CrackDetector(IdentityRunner((64, 64)), "identity")
    frame = np.dstack([wall(*frame_hw)] * 3)
    hidden = SHAPES["left"](*frame_hw)
    frame[hidden] = 0
    corner = np.zeros(frame_hw, dtype=np.bool_)
    corner[-20:, -30:] = True
    frame = with_mask(frame, corner)
    prepared = detector.prepare(frame)
    whole = detector.infer(prepared)
    nothing = hidden | corner
    assert (whole[nothing] == 0).all()
    np.testing.assert_array_equal(whole[~nothing], np.asarray(prepared)[~nothing])
    assert whole[~nothing].mean() > 60
    np.testing.assert_array_equal(detector.infer_some(prepared, Effort(), 0)[0], whole)
    for turn in (0, 1):
        assert (detector.infer_some(prepared, Effort(0, 2), turn)[0][nothing] == 0).all()


def test_a_frame_of_one_tile_is_what_the_runner_says_of_it() -> None:
    image = photo(256, 256)
    with open_runner(threads=1) as runner, open_detector(scales=(1.0,), threads=1) as detector:
        direct = runner.infer(preprocess(image, runner.spec.preprocess)[None, None])[0, 0]
        np.testing.assert_array_equal(detector.detect(image), direct)


def test_a_small_frame_is_what_the_runner_says_of_it_mirrored_out() -> None:
    image = photo(120, 200)
    with open_runner(threads=1) as runner, open_detector(scales=(1.0,), threads=1) as detector:
        prepared = np.pad(
            preprocess(image, runner.spec.preprocess), ((0, 136), (0, 56)), mode="symmetric"
        )
        direct = runner.infer(prepared[None, None])[0, 0, :120, :200]
        np.testing.assert_array_equal(detector.detect(image), direct)


def test_a_crack_that_crosses_tiles_has_no_gap_where_they_meet() -> None:
    image = photo(300, 600)
    columns = np.arange(600)
    rows = (150 + 20 * np.sin(columns / 23) + 8 * np.sin(columns / 7)).astype(int)
    for row, column in zip(rows, columns, strict=True):
        image[row - 2 : row + 2, column] = 25
    with open_detector(threads=1) as detector:
        probability = detector.detect(image)
        level = detector.threshold * 255
    near = [
        probability[row - 5 : row + 6, column].max()
        for row, column in zip(rows, columns, strict=True)
    ]
    assert float(np.mean(np.array(near) >= level)) > 0.9


def test_threshold_and_overlap_default_to_the_model_and_its_tile() -> None:
    assert CrackDetector(IdentityRunner((64, 64), 0.3), "m").threshold == 0.3
    assert CrackDetector(IdentityRunner((64, 64), 0.3), "m", threshold=0.7).threshold == 0.7
    (usual,) = CrackDetector(IdentityRunner((256, 256)), "m").plan((480, 480)).levels
    assert usual.offsets_x == (0, 224)
    (small,) = CrackDetector(IdentityRunner((16, 16)), "m").plan((28, 28)).levels
    assert small.offsets_x == (0, 12)


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1, 2.0, float("nan"), float("inf")])
def test_a_threshold_outside_of_zero_to_one_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match=f"threshold is {threshold}"):
        CrackDetector(IdentityRunner(), "m", threshold=threshold)


@pytest.mark.parametrize("overlap_px", [-1, 32, 1000])
def test_an_overlap_of_half_a_tile_or_more_is_refused(overlap_px: int) -> None:
    with pytest.raises(ConfigError, match=f"overlap is {overlap_px} px"):
        CrackDetector(IdentityRunner((64, 64)), "m", overlap_px=overlap_px)


def test_closing_the_detector_closes_the_runner() -> None:
    runner = IdentityRunner()
    with CrackDetector(runner, "m") as detector:
        assert detector.runner is runner
    assert runner.closed == 1


def test_a_refused_option_closes_the_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = IdentityRunner()
    monkeypatch.setattr(detector_module, "open_runner", lambda path, threads: runner)
    with pytest.raises(ConfigError):
        open_detector(threshold=2)
    assert runner.closed == 1


def test_names_in_results() -> None:
    with open_detector(threads=1) as detector:
        assert detector.model_name == BUNDLED_MODEL.name
    with open_detector(BUNDLED_MODEL, threads=1) as detector:
        assert detector.model_name == BUNDLED_MODEL.name


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"none\.onnx"):
        open_detector(tmp_path / "none.onnx")
