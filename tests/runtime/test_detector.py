from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, ModelFileError, SourceError
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.images.nodata import with_mask
from edgecrack.preprocess import PreprocessConfig, preprocess
from edgecrack.runtime import detector as detector_module
from edgecrack.runtime.backends.open import BUNDLED_MODEL, open_runner
from edgecrack.runtime.detector import CrackDetector, Detection, open_detector
from edgecrack.runtime.pipeline.inspection import Effort
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
    probability = detector.probability_of(image)
    # Preprocessed once, as a whole: cutting and stitching add nothing of their own.
    np.testing.assert_array_equal(probability, preprocess(image, runner.spec.preprocess))
    assert [len(call) for call in runner.calls] == [tiles]


def test_preprocessing_runs_once_per_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def counted(frame: Image, config: object) -> Image:
        seen.append(frame.shape)
        return preprocess(frame)

    monkeypatch.setattr(detector_module, "prepare", counted)
    CrackDetector(IdentityRunner((64, 64)), "identity").probability_of(photo(200, 300))
    assert seen == [(200, 300, 3)]


def test_prepare_and_infer_are_the_two_halves_of_detect() -> None:
    detector = CrackDetector(IdentityRunner(), "identity")
    image = photo(100, 130)
    np.testing.assert_array_equal(
        detector.infer(detector.prepare(image)), detector.probability_of(image)
    )


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


def lower_third(height: int, width: int) -> NDArray[np.bool_]:
    return np.asarray(np.arange(height)[:, None].repeat(width, 1) >= round(2 * height / 3))


def arm(height: int, width: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[:height, :width]
    return np.asarray(y > height - 0.9 * x)


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.5, 0.25), (2.0,)])
@pytest.mark.parametrize("shape", [lower_third, arm, SHAPES["letterbox"]])
def test_what_is_ignored_is_no_crack_costs_no_tiles_and_changes_nothing_else(
    shape: Callable[[int, int], NDArray[np.bool_]], scales: tuple[float, ...]
) -> None:
    runner = IdentityRunner((64, 64))
    detector = CrackDetector(runner, "identity", scales=scales)
    image = np.dstack([wall(360, 480)] * 3)
    hidden = shape(360, 480)
    ignoring = detector.ignoring(IgnoredPixels(hidden))
    prepared = ignoring.prepare(image)
    found = ignoring.infer(prepared)
    assert (found[hidden] == 0).all()
    # As if all tiles were run, and as the network sees it without any tiles.
    plan = ignoring.plan((360, 480))
    whole = plan.stitch(plan.cut(np.asarray(prepared)))
    np.testing.assert_array_equal(found[~hidden], whole[~hidden])
    if scales == (1.0,):
        np.testing.assert_array_equal(found[~hidden], np.asarray(prepared)[~hidden])
    (run,) = (len(call) for call in runner.calls)
    assert run < len(detector.plan((360, 480)))
    noisy = image.copy()
    noisy[hidden] = np.random.default_rng(0).integers(0, 256, (hidden.sum(), 3))
    np.testing.assert_array_equal(ignoring.probability_of(noisy), found)


def test_tiles_wholly_in_what_is_ignored_are_not_run() -> None:
    runner = IdentityRunner((64, 64))
    detector = CrackDetector(runner, "identity", overlap_px=0)
    hidden = np.zeros((192, 256), np.bool_)
    hidden[128:] = hidden[:, 192:] = True
    hidden[0, 255] = False  # one pixel is enough for its tile to be run
    ignoring = detector.ignoring(IgnoredPixels(hidden))
    ignoring.probability_of(photo(192, 256))
    assert [len(call) for call in runner.calls] == [2 * 3 + 1]
    assert ignoring.tiles_of((192, 256), Effort()) == 7
    assert ignoring.tiles_of((192, 256), Effort(0, 2)) == 3.5
    assert detector.tiles_of((192, 256), Effort()) == 12


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.5), (0.5,)])
def test_an_overloaded_stream_takes_turns_among_the_tiles_that_count(
    scales: tuple[float, ...],
) -> None:
    runner = IdentityRunner((64, 64))
    ignored = IgnoredPixels(lower_third(360, 480))
    detector = CrackDetector(runner, "identity", scales=scales).ignoring(ignored)
    prepared = detector.prepare(photo(360, 480))
    whole, ratio = detector.infer_some(prepared, Effort(), 0)
    np.testing.assert_array_equal(whole, detector.infer(prepared))
    assert ratio == pytest.approx(2 / 3)
    turns = [detector.infer_some(prepared, Effort(None, 2), turn) for turn in (0, 1)]
    assert all(0.2 < ratio < 0.6 for _, ratio in turns)
    assert sum(ratio for _, ratio in turns) >= 2 / 3
    assert all((found[ignored.mask] == 0).all() for found, _ in turns)
    counts = [len(call) for call in runner.calls]
    assert sum(counts[-2:]) == counts[0]  # each tile that counts once, and no other


def test_a_model_of_sidecar_version_1_ignores_as_well() -> None:
    runner = IdentityRunner((64, 64), preprocess=PreprocessConfig(stretch="minmax"))
    detector = CrackDetector(runner, "identity")
    image, hidden = photo(200, 300), arm(200, 300)
    bright = image.copy()
    bright[hidden] = 255
    found = detector.ignoring(IgnoredPixels(hidden)).probability_of(image)
    assert (found[hidden] == 0).all()
    assert found[~hidden].any()
    again = detector.ignoring(IgnoredPixels(hidden)).probability_of(bright)
    np.testing.assert_array_equal(found, again)


def test_a_frame_of_another_size_than_what_is_ignored_is_refused() -> None:
    detector = CrackDetector(IdentityRunner((64, 64)), "identity")
    ignoring = detector.ignoring(IgnoredPixels(arm(100, 140)))
    for refused in (ignoring.prepare, ignoring.infer):
        with pytest.raises(ConfigError, match="give both in one size"):
            refused(np.zeros((100, 141), np.uint8))
    assert ignoring.ignoring(None).probability_of(photo(100, 141)).shape == (100, 141)


def test_a_frame_of_one_tile_is_what_the_runner_says_of_it() -> None:
    image = photo(256, 256)
    with open_runner(threads=1) as runner, open_detector(scales=(1.0,), threads=1) as detector:
        direct = runner.infer(preprocess(image, runner.spec.preprocess)[None, None])[0, 0]
        np.testing.assert_array_equal(detector.probability_of(image), direct)


def test_a_small_frame_is_what_the_runner_says_of_it_mirrored_out() -> None:
    image = photo(120, 200)
    with open_runner(threads=1) as runner, open_detector(scales=(1.0,), threads=1) as detector:
        prepared = np.pad(
            preprocess(image, runner.spec.preprocess), ((0, 136), (0, 56)), mode="symmetric"
        )
        direct = runner.infer(prepared[None, None])[0, 0, :120, :200]
        np.testing.assert_array_equal(detector.probability_of(image), direct)


def test_a_crack_that_crosses_tiles_has_no_gap_where_they_meet() -> None:
    image = photo(300, 600)
    columns = np.arange(600)
    rows = (150 + 20 * np.sin(columns / 23) + 8 * np.sin(columns / 7)).astype(int)
    for row, column in zip(rows, columns, strict=True):
        image[row - 2 : row + 2, column] = 25
    with open_detector(threads=1) as detector:
        probability = detector.probability_of(image)
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


def test_a_threshold_that_is_a_word_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"threshold is '0\.5'"):
        CrackDetector(IdentityRunner(), "m", threshold="0.5")  # type: ignore[arg-type]
    detector = CrackDetector(IdentityRunner((64, 64)), "m")
    with pytest.raises(ConfigError, match=r"threshold is '0\.5'"):
        detector.detect(np.zeros((64, 64, 3), np.uint8), threshold="0.5")  # type: ignore[call-overload]


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
    monkeypatch.setattr(detector_module, "open_runner", lambda path, **options: runner)
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


def test_a_detection_is_what_the_command_line_gives(tmp_path: Path) -> None:
    image = np.full((70, 90, 3), 20, np.uint8)
    image[10:14, 5:80] = 250
    image[40, 40] = 250
    path = tmp_path / "wall.png"
    assert cv2.imwrite(str(path), image)
    bright = CrackDetector(IdentityRunner((64, 64)), "bright", threshold=0.55)
    found = bright.detect(image, min_area_px=10)
    assert isinstance(found, Detection)
    assert np.array_equal(found.probability, bright.probability_of(image))
    assert found.probability[40, 40] > 150
    assert found.mask[40, 40] == 0
    assert set(np.unique(found.mask)) == {0, 255}
    assert found.crack_pixels == np.count_nonzero(found.mask)
    assert found.crack_ratio == found.crack_pixels / found.mask.size
    (region,) = found.regions
    assert region.area_px == found.crack_pixels
    for same in (path, str(path)):
        assert np.array_equal(bright.detect(same, min_area_px=10).mask, found.mask)
    assert bright.detect(image, min_area_px=0).crack_pixels == found.crack_pixels + 1
    assert bright.detect(image, threshold=0.999, min_area_px=10).crack_pixels <= found.crack_pixels


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (None, "the image is None"),
        ([[1, 2, 3]], "is a int"),
        (np.zeros((8, 8, 3)), "float64"),
        (np.zeros((8, 8), np.uint8), r"shape \[8, 8\]"),
        (np.zeros((8, 8, 4), np.uint8), r"shape \[8, 8, 4\]"),
        (np.zeros((0, 8, 3), np.uint8), "without a pixel"),
    ],
)
def test_what_is_no_picture_is_said(image: Any, words: str) -> None:
    bright = CrackDetector(IdentityRunner((64, 64)), "bright", threshold=0.55)
    with pytest.raises(ConfigError, match=words) as caught:
        bright.detect(image)
    assert "cv2.imread" in caught.value.remedy


def test_a_file_that_is_no_picture_is_said(tmp_path: Path) -> None:
    bright = CrackDetector(IdentityRunner((64, 64)), "bright", threshold=0.55)
    (tmp_path / "plan.pdf").write_bytes(b"%PDF-1.7")
    with pytest.raises(SourceError, match=r"gone\.png: No such file"):
        bright.detect(tmp_path / "gone.png")
    with pytest.raises(SourceError, match="is a PDF"):
        bright.detect(tmp_path / "plan.pdf")
    with pytest.raises(SourceError, match="null byte"):
        bright.detect("a\0b.png")


@pytest.mark.parametrize("values", [{"threshold": 0.0}, {"threshold": 1.5}, {"min_area_px": -1}])
def test_values_of_a_detection_out_of_range(values: dict[str, Any]) -> None:
    bright = CrackDetector(IdentityRunner((64, 64)), "bright", threshold=0.55)
    with pytest.raises(ConfigError):
        bright.detect(np.zeros((8, 8, 3), np.uint8), **values)
