"""What is no crack: every kind shows, repeats, leaves the rest alone and knows no mask."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pytest

from edgecrack.errors import ConfigError
from edgecrack.synthetic.canvas import ByteArray, Canvas
from edgecrack.yardstick import negatives
from edgecrack.yardstick.negatives import NEGATIVE_KINDS, NegativeKind, render_negative

PAINTED = tuple(kind for kind in NEGATIVE_KINDS if kind != "clean")


@lru_cache(maxsize=4)
def surface(hw: tuple[int, int] = (200, 240), seed: int = 0) -> ByteArray:
    noise = np.random.default_rng(seed).normal(140.0, 4.0, (*hw, 3))
    return np.clip(np.rint(noise), 0, 255).astype(np.uint8)


def render(kind: NegativeKind, seed: int = 0, **options: Any) -> ByteArray:
    return render_negative(surface(), kind, np.random.default_rng(seed), **options)


class TestRenderNegative:
    @pytest.mark.parametrize("kind", PAINTED)
    def test_each_kind_shows_in_every_picture(self, kind: NegativeKind) -> None:
        background = surface()
        for seed in range(12):
            image = render(kind, seed)
            assert image.shape == background.shape
            assert image.dtype == np.uint8
            change = cv2.absdiff(image, background).max(axis=2)
            assert np.count_nonzero(change >= 12) >= 30, seed
        np.testing.assert_array_equal(background, surface())

    @pytest.mark.parametrize("kind", ["cable", "target", "lettering", "gauge"])
    def test_a_small_thing_leaves_most_of_the_background_as_it_was(
        self, kind: NegativeKind
    ) -> None:
        background = surface()
        same = [(render(kind, seed) == background).all(axis=2).mean() for seed in range(12)]
        assert np.median(same) > 0.5
        assert max(same) < 1.0

    def test_clean_changes_nothing(self) -> None:
        np.testing.assert_array_equal(render("clean"), surface())

    @pytest.mark.parametrize("kind", NEGATIVE_KINDS)
    def test_the_same_seed_gives_the_same_bytes(self, kind: NegativeKind) -> None:
        np.testing.assert_array_equal(render(kind, 3), render(kind, 3))

    @pytest.mark.parametrize("kind", PAINTED)
    def test_another_seed_gives_another_picture(self, kind: NegativeKind) -> None:
        assert not np.array_equal(render(kind, 3), render(kind, 4))

    @pytest.mark.parametrize("hw", [(64, 64), (448, 448), (90, 300)])
    @pytest.mark.parametrize("kind", NEGATIVE_KINDS)
    def test_any_size_will_do(self, kind: NegativeKind, hw: tuple[int, int]) -> None:
        for seed in range(3):
            image = render_negative(surface(hw), kind, np.random.default_rng(seed))
            assert image.shape == (*hw, 3)

    def test_blur_softens_the_edges_of_what_was_painted(self) -> None:
        def steepest(blur_px: float) -> float:
            flat = np.full((200, 200, 3), 140, np.uint8)
            image = render_negative(flat, "target", np.random.default_rng(2), blur_px)
            return float(np.abs(np.diff(image[..., 1].astype(np.int32), axis=1)).max())

        steps = [steepest(blur_px) for blur_px in (0.0, 1.0, 3.0)]
        assert steps == sorted(steps, reverse=True)
        assert steps[0] > 2.0 * steps[2]

    def test_the_surface_is_not_seen_through_an_opaque_thing(self) -> None:
        """A sheet on rough asphalt shows no stones: its detail is not like theirs."""
        stones = np.random.default_rng(0).normal(120.0, 30.0, (200, 200, 1))
        rough = np.clip(np.repeat(stones, 3, axis=2), 0, 255).astype(np.uint8)
        looked_at = 0
        for seed in range(12):
            image = render_negative(rough, "target", np.random.default_rng(seed))
            sheet = (cv2.absdiff(image, rough).min(axis=2) > 0).astype(np.uint8)
            sheet = cv2.morphologyEx(sheet, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
            inner = cv2.erode(sheet, np.ones((21, 21), np.uint8), borderValue=0) > 0
            if np.count_nonzero(inner) < 300:
                continue
            looked_at += 1
            details = [
                cv2.Laplacian(picture[..., 1].astype(np.float32), -1)[inner]
                for picture in (image, rough)
            ]
            assert abs(float(np.corrcoef(details[0], details[1])[0, 1])) < 0.15
        assert looked_at >= 4


class TestShadows:
    @pytest.mark.parametrize(
        "painter", [negatives.pole_shadow, negatives.branch_shadow, negatives.robot_shadow]
    )
    def test_a_shadow_darkens_alone_and_hides_nothing(self, painter: negatives.Painter) -> None:
        shown = 0
        for seed in range(20):
            canvas = Canvas(
                np.full((160, 200, 3), 180.0, np.float32), np.full((160, 200), 255, np.uint8)
            )
            painter(canvas, np.random.default_rng(seed))
            assert (canvas.image <= 180.001).all()
            assert canvas.image.min() > 50.0
            assert (canvas.mask == 255).all()
            shown += bool((canvas.image < 150.0).any())
        assert shown >= 17


class TestErrors:
    def test_an_unknown_kind_is_named_with_those_there_are(self) -> None:
        kind: Any = "crack"
        with pytest.raises(ConfigError, match="kind is 'crack'; give one of clean, joint"):
            render(kind)

    def test_a_blur_out_of_range_is_named(self) -> None:
        with pytest.raises(ConfigError, match="blur_px is -1"):
            render("joint", blur_px=-1.0)

    def test_what_is_no_picture_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="a background is"):
            render_negative(np.zeros((100, 100), np.uint8), "joint", np.random.default_rng(0))
