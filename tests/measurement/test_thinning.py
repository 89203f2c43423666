from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.measurement.centre_lines import thin

Mask = NDArray[np.uint8]


def blobs(seed: int, hw: tuple[int, int]) -> Mask:
    """Noise of some density, half of it closed to shapes with holes and ragged rims."""
    generator = np.random.default_rng(seed)
    mask = (generator.random(hw) < generator.choice([0.2, 0.5, 0.8, 0.95])).astype(np.uint8)
    if seed % 2:
        mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))
    return np.asarray(mask * 255, np.uint8)


def strokes(seed: int) -> Mask:
    """Crooked lines of 1 to 20 px."""
    generator = np.random.default_rng(seed)
    mask = np.zeros((200, 240), np.uint8)
    for _ in range(6):
        steps = generator.normal(0, 25, (12, 2)).cumsum(axis=0) + generator.uniform(0, 200, 2)
        cv2.polylines(mask, [steps.astype(np.int32)], False, 255, int(generator.integers(1, 21)))
    return mask


def groups(mask: NDArray[np.bool_] | Mask) -> int:
    return int(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0]) - 1


@pytest.mark.parametrize("seed", range(60))
def test_equals_scikit_image(seed: int) -> None:
    morphology = pytest.importorskip("skimage.morphology", reason="scikit-image is of extra dev")
    generator = np.random.default_rng(1000 + seed)
    mask = blobs(seed, (int(generator.integers(1, 50)), int(generator.integers(1, 50))))
    np.testing.assert_array_equal(thin(mask), morphology.thin(mask))
    mask = strokes(seed)
    np.testing.assert_array_equal(thin(mask), morphology.thin(mask))


@pytest.mark.parametrize("seed", range(20))
def test_what_is_connected_stays_so(seed: int) -> None:
    mask = strokes(seed)
    skeleton = thin(mask)
    assert not (skeleton & (mask == 0)).any()
    assert groups(skeleton) == groups(mask)
    # One pixel wide: no square of four is left, but where lines meet.
    squares = cv2.filter2D(skeleton.astype(np.uint8), -1, np.ones((2, 2), np.uint8))
    assert np.count_nonzero(squares == 4) <= 3
    # Nothing is left to be removed.
    np.testing.assert_array_equal(thin(skeleton), skeleton)


@pytest.mark.parametrize("seed", range(10))
def test_a_window_has_the_skeleton_of_the_whole(seed: int) -> None:
    """But for a margin of the strokes' width, on which orthomosaics rely."""
    mask = strokes(seed)
    whole, window = thin(mask)[60:140, 60:180], thin(mask[20:180, 20:220])[40:120, 40:160]
    np.testing.assert_array_equal(window, whole)


def test_what_has_no_inside_is_kept() -> None:
    assert not thin(np.zeros((4, 5), np.uint8)).any()
    point = np.zeros((3, 3), np.uint8)
    point[1, 1] = 1
    np.testing.assert_array_equal(thin(point), point.astype(bool))
    np.testing.assert_array_equal(thin(np.ones((1, 9), bool)), np.ones((1, 9), bool))
