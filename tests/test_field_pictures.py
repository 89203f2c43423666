"""Pictures on which earlier versions failed, through the bundled network from end to end.

The network's own stretch is whatever its sidecar says; what is claimed here is claimed of the
percentile stretch, and of the reading of files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.data.datasets import read_image
from edgecrack.metrics.counting import uint8_level
from edgecrack.prediction.batch import PredictConfig, predict_images
from edgecrack.preprocess import PreprocessConfig, prepare, without_nodata
from edgecrack.runtime.detector import CrackDetector, open_detector
from edgecrack.runtime.sources.open import open_source

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
ROBUST, MINMAX = PreprocessConfig(), PreprocessConfig(stretch="minmax")


@pytest.fixture(scope="module")
def detector() -> Iterator[CrackDetector]:
    with open_detector(threads=1) as opened:
        yield opened


def case(data_folder: Path, name: str) -> Path:
    folder = data_folder / "field_cases" / name
    if not folder.is_dir():
        pytest.skip(f"{data_folder} holds no field_cases/{name}")
    return folder


def mask_of(detector: CrackDetector, image: Image, config: PreprocessConfig) -> Mask:
    prepared = prepare(image, config)
    probability = without_nodata(detector.infer(np.asarray(prepared)), prepared)
    return np.asarray(probability >= uint8_level(detector.threshold))


def overlap(first: Mask, second: Mask, compared: Mask) -> float:
    either = np.count_nonzero((first | second) & compared)
    assert either > 500  # there is a crack to be compared
    return np.count_nonzero(first & second & compared) / either


class TestNodataAndOutliers:
    @pytest.fixture
    def folder(self, data_folder: Path) -> Path:
        return case(data_folder, "15-nodata-outliers")

    def test_two_stuck_pixels(self, folder: Path, detector: CrackDetector) -> None:
        before, after = read_image(folder / "ref.png"), read_image(folder / "two-stuck-pixels.png")
        same = (before == after).all(axis=2)
        robust, minmax = (
            overlap(mask_of(detector, before, config), mask_of(detector, after, config), same)
            for config in (ROBUST, MINMAX)
        )
        assert robust >= 0.99 > minmax

    def test_a_black_side(self, folder: Path, detector: CrackDetector) -> None:
        before, after = read_image(folder / "ref.png"), read_image(folder / "nodata.png")
        shown = np.tile(np.arange(256) < 200, (256, 1))
        far = np.tile(np.arange(256) < 184, (256, 1))  # where the network has its surroundings
        masks = {
            config.stretch: (mask_of(detector, before, config), mask_of(detector, after, config))
            for config in (ROBUST, MINMAX)
        }
        assert not masks["percentile"][1][~shown].any()
        assert overlap(*masks["percentile"], shown) >= 0.9 > 0.8 > overlap(*masks["minmax"], shown)
        assert overlap(*masks["percentile"], far) >= 0.95 > overlap(*masks["minmax"], far)


class TestHighBitDepth:
    @pytest.fixture
    def folder(self, data_folder: Path) -> Path:
        return case(data_folder, "01-high-bit-depth")

    @pytest.mark.parametrize("name", ["p16g10.png", "p16g12.png", "t16g12.tif"])
    def test_the_picture_is_that_of_8_bits(self, folder: Path, name: str) -> None:
        image = read_image(folder / name)
        whole = read_image(folder / "ref8.png")
        difference = cv2.matchTemplate(whole, image, cv2.TM_SQDIFF)
        assert difference.min() == 0

    @pytest.mark.parametrize("name", ["p16g10.png", "p16g12.png"])
    def test_predict_gives_the_mask_of_8_bits(
        self, folder: Path, name: str, tmp_path: Path, detector: CrackDetector
    ) -> None:
        paths = [folder / "ref8.png", folder / name]
        predict_images(detector, paths, PredictConfig(tmp_path, ("prob",)))
        maps = [
            cv2.imread(str(tmp_path / f"{path.stem}.prob.png"), cv2.IMREAD_UNCHANGED)
            for path in paths
        ]
        np.testing.assert_array_equal(maps[0], maps[1])

    def test_a_folder_as_a_stream_gives_the_same_pictures(self, folder: Path) -> None:
        frames = {}
        with open_source(str(folder)) as source:
            while (frame := source.read()) is not None:
                frames[frame.name] = frame.image
        assert {"ref8", "p16g10", "p16g12", "t16g12"} <= set(frames)
        np.testing.assert_array_equal(frames["p16g10"], frames["ref8"])
        np.testing.assert_array_equal(frames["p16g12"], frames["ref8"])
