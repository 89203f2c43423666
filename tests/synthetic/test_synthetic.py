"""Generated walls: what their masks promise, what never gets marked, and that they repeat."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecrack.errors import ConfigError, OutputError
from edgecrack.synthetic import (
    DemoPath,
    Surface,
    Wall,
    WallConfig,
    generate_wall,
    write_dataset,
)
from edgecrack.synthetic.camera import ground_view, thin_mask
from edgecrack.synthetic.canvas import Canvas, bounding_box
from edgecrack.synthetic.crack_paint import CrackLook, paint_cracks
from edgecrack.synthetic.crack_paths import dress, walk
from edgecrack.synthetic.distractors import (
    DISTRACTORS,
    LYING,
    MARKINGS,
    OBJECTS,
    STANDING,
    Painter,
)
from edgecrack.synthetic.surfaces import SURFACES, render_surface

SMALL = (96, 128)


def gray(wall: Wall) -> npt.NDArray[np.float64]:
    return np.asarray(wall.image.mean(axis=2, dtype=np.float64))


def around(mask: npt.NDArray[np.uint8], near_px: int, far_px: int) -> npt.NDArray[np.bool_]:
    """Pixels that lie between two distances of the mask."""
    kernels = [np.ones((2 * radius + 1,) * 2, np.uint8) for radius in (near_px, far_px)]
    near, far = (cv2.dilate(mask, kernel) for kernel in kernels)
    return np.asarray((far > 0) & (near == 0))


def components(mask: npt.NDArray[np.uint8]) -> int:
    """Number of 8-connected pieces."""
    return int(cv2.connectedComponents(mask, connectivity=8)[0]) - 1


def plain_canvas(hw: tuple[int, int], level: float = 200.0) -> Canvas:
    return Canvas(np.full((*hw, 3), level, np.float32), np.zeros(hw, np.uint8))


@pytest.fixture(scope="module")
def demo() -> DemoPath:
    return DemoPath()


class TestGenerateWall:
    @pytest.mark.parametrize("surface", SURFACES)
    @pytest.mark.parametrize("camera_effects", [False, True])
    def test_same_configuration_gives_the_same_bytes(
        self, surface: Surface, camera_effects: bool
    ) -> None:
        config = WallConfig(3, SMALL, surface, 2, 3, camera_effects)
        first = generate_wall(config)
        np.random.seed(5)
        second = generate_wall(config)
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.mask, second.mask)

    def test_another_process_gives_the_same_bytes(self) -> None:
        code = (
            "import hashlib; from edgecrack.synthetic import *;"
            "w = generate_wall(WallConfig(11, (96, 128)));"
            "print(hashlib.sha256(w.image.tobytes() + w.mask.tobytes()).hexdigest())"
        )
        outputs = {
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
            for _ in range(2)
        }
        assert len(outputs) == 1

    def test_another_seed_gives_another_wall(self) -> None:
        first, second = (generate_wall(WallConfig(seed, SMALL, "concrete")) for seed in (1, 2))
        assert not np.array_equal(first.image, second.image)

    @settings(max_examples=40, deadline=None)
    @given(
        seed=st.integers(0, 2**40),
        height=st.integers(32, 150),
        width=st.integers(32, 150),
        surface=st.sampled_from([None, *SURFACES]),
        cracks=st.none() | st.integers(0, 4),
        distractors=st.none() | st.integers(0, 6),
    )
    def test_any_wall_has_a_picture_and_a_binary_mask_of_its_size(
        self,
        seed: int,
        height: int,
        width: int,
        surface: Surface | None,
        cracks: int | None,
        distractors: int | None,
    ) -> None:
        wall = generate_wall(WallConfig(seed, (height, width), surface, cracks, distractors))
        assert wall.image.shape == (height, width, 3)
        assert wall.mask.shape == (height, width)
        assert wall.image.dtype == wall.mask.dtype == np.uint8
        assert set(np.unique(wall.mask)) <= {0, 255}
        assert wall.surface in ((surface,) if surface else SURFACES)

    def test_no_crack_no_mark(self) -> None:
        for seed in range(25):
            assert not generate_wall(WallConfig(seed, SMALL, None, 0, 5)).mask.any()

    def test_drawn_walls_show_every_surface_and_some_have_no_crack(self) -> None:
        walls = [generate_wall(WallConfig(seed, (64, 64))) for seed in range(120)]
        assert {wall.surface for wall in walls} == set(get_args(Surface))
        empty = np.mean([not wall.mask.any() for wall in walls])
        assert 0.1 < empty < 0.45

    def test_the_camera_moves_no_crack(self) -> None:
        plain, taken = (
            generate_wall(WallConfig(4, (128, 128), None, 2, 2, camera_effects))
            for camera_effects in (False, True)
        )
        np.testing.assert_array_equal(plain.mask, taken.mask)
        assert not np.array_equal(plain.image, taken.image)

    @pytest.mark.parametrize("surface", SURFACES)
    def test_marked_pixels_are_darker_than_what_lies_around_them(self, surface: Surface) -> None:
        ratios = []
        for seed in range(20):
            wall = generate_wall(WallConfig(seed, (160, 160), surface, 1, 0, False))
            ring = around(wall.mask, 2, 6)
            if np.count_nonzero(wall.mask) > 60:
                ratios.append(gray(wall)[wall.mask > 0].mean() / gray(wall)[ring].mean())
        assert len(ratios) > 10
        assert np.mean(ratios) < 0.75
        assert np.mean(np.array(ratios) < 0.95) > 0.9

    def test_the_mask_is_all_that_a_crack_darkens(self) -> None:
        """Beyond the mask and its anti-aliased border, a bare crack changes nothing."""
        rng = np.random.default_rng(0)
        canvas = plain_canvas((120, 120))
        paths = [dress(rng, walk(rng, (-5, 60), 0.0, 180, 0.4), 3.0)]
        paint_cracks(canvas, paths, CrackLook(depth=0.9, grit=0.0), rng)
        changed = canvas.image[..., 0] < 199.0
        beyond = cv2.dilate(canvas.mask, np.ones((3, 3), np.uint8)) == 0
        assert canvas.mask.any()
        assert not (changed & beyond).any()
        # Where the paint covers at least half of a pixel at full strength, it is marked.
        assert not ((canvas.image[..., 0] < 200 * (1 - 0.9 * 0.55)) & (canvas.mask == 0)).any()

    @pytest.mark.parametrize("width_px", [0.4, 1.0, 3.0, 9.0])
    def test_one_crack_is_one_connected_piece_about_as_wide_as_asked(self, width_px: float) -> None:
        for seed in range(8):
            rng = np.random.default_rng(seed)
            canvas = plain_canvas((160, 260))
            points = walk(rng, (10, 80), 0.0, 200, 0.35)
            inside = (points > 4).all(axis=1) & (points < (256, 156)).all(axis=1)
            points = points[: int(np.argmin(inside)) or None]
            paint_cracks(canvas, [dress(rng, points, width_px)], CrackLook(0.8), rng)
            assert components(canvas.mask) == 1
            length = np.hypot(*np.diff(points, axis=0).T).sum()
            mean_width = np.count_nonzero(canvas.mask) / length
            assert 0.4 * width_px < mean_width < 1.6 * width_px + 1.0

    def test_walls_with_one_crack_have_few_pieces(self) -> None:
        pieces = [
            components(generate_wall(WallConfig(seed, (160, 160), "concrete", 1, 0)).mask)
            for seed in range(30)
        ]
        # A net leaves the picture and re-enters it; a single run cannot fall apart much.
        assert np.median(pieces) <= 2
        assert max(pieces) < 40


class TestDistractors:
    @pytest.mark.parametrize("painter", DISTRACTORS, ids=lambda painter: painter.__name__)
    def test_each_changes_the_picture_and_marks_nothing(self, painter: Painter) -> None:
        changed = 0
        for seed in range(8):
            rng = np.random.default_rng(seed)
            image, _ = render_surface(SURFACES[seed % 3], SMALL, rng)
            canvas = Canvas(image.copy(), np.zeros(SMALL, np.uint8))
            painter(canvas, rng)
            assert not canvas.mask.any()
            assert np.isfinite(canvas.image).all()
            changed += not np.array_equal(image, canvas.image)
        assert changed >= 6

    @pytest.mark.parametrize("hw", [(32, 32), (33, 90), (330, 70)])
    @pytest.mark.parametrize("painter", DISTRACTORS, ids=lambda painter: painter.__name__)
    def test_each_shows_at_any_size_and_repeats(
        self, painter: Painter, hw: tuple[int, int]
    ) -> None:
        shown = 0
        for seed in range(10):
            first, second = plain_canvas(hw, 130.0), plain_canvas(hw, 130.0)
            painter(first, np.random.default_rng(seed))
            painter(second, np.random.default_rng(seed))
            np.testing.assert_array_equal(first.image, second.image)
            assert not first.mask.any()
            shown += bool((np.abs(first.image - 130.0) > 8.0).any())
        # A smooth patch differs from a plain surface in its outline alone, at times little.
        assert shown >= 6

    @pytest.mark.parametrize("painter", MARKINGS, ids=lambda painter: painter.__name__)
    def test_markings_never_take_a_crack_away(self, painter: Painter) -> None:
        canvas = plain_canvas(SMALL)
        canvas.mask[:] = 255
        painter(canvas, np.random.default_rng(1))
        assert (canvas.mask == 255).all()

    def test_opaque_objects_unmark_what_they_hide_and_shadows_do_not(self) -> None:
        left = {}
        for painter in OBJECTS:
            canvas = plain_canvas((200, 200))
            canvas.mask[:] = 255
            for seed in range(5):
                painter(canvas, np.random.default_rng(seed))
            left[painter.__name__] = np.count_nonzero(canvas.mask) / canvas.mask.size
        assert left.pop("shadow") == 1.0
        assert all(share < 1.0 for share in left.values()), left

    def test_every_distractor_can_be_drawn_on_some_surface(self) -> None:
        assert set(LYING) | set(STANDING) == set(OBJECTS)
        assert not set(LYING) & set(STANDING)
        for table in (MARKINGS, OBJECTS):
            for painter, weights in table.items():
                assert set(weights) == set(SURFACES), painter.__name__
                assert max(weights.values()) > 0


class TestGroundView:
    """A surface seen aslant: picture and mask move together, thin cracks stay thin."""

    @staticmethod
    def seen(seed: int, width_px: float, hw: tuple[int, int] = (160, 200)) -> Canvas:
        rng = np.random.default_rng(seed)
        canvas = plain_canvas((int(1.3 * hw[0]), int(1.3 * hw[1])))
        points = walk(rng, (-5.0, 0.65 * hw[0]), 0.0, 2 * hw[1], 0.4)
        path = dress(rng, points, width_px, (0.0, 0.0), 0.0)
        paint_cracks(canvas, [path], CrackLook(depth=0.9, grit=0.0), rng)
        return ground_view(canvas, hw, rng)

    def test_the_mask_lies_on_the_dark_pixels(self) -> None:
        for seed in range(12):
            canvas = self.seen(seed, 4.0)
            dark = canvas.image[..., 0] < 110.0
            assert canvas.mask.any()
            assert set(np.unique(canvas.mask)) == {0, 255}
            near = cv2.dilate(canvas.mask, np.ones((3, 3), np.uint8)) > 0
            assert near[dark].mean() > 0.99
            assert (canvas.image[..., 0][canvas.mask > 0] < 160.0).mean() > 0.95

    def test_a_crack_remains_one_piece_and_thin(self) -> None:
        pieces = []
        for seed in range(12):
            canvas = self.seen(seed, 2.0)
            pieces.append(components(canvas.mask))
            assert np.count_nonzero(canvas.mask) < 0.04 * canvas.mask.size
        assert np.median(pieces) == 1

    def test_other_sizes_and_strips_make_no_seam(self) -> None:
        ramp = np.linspace(20.0, 220.0, 520, dtype=np.float32)[:, None, None]
        image = np.broadcast_to(ramp, (520, 60, 3)).copy()
        canvas = Canvas(image, np.zeros((520, 60), np.uint8))
        for seed in range(6):
            seen = ground_view(canvas, (400, 46), np.random.default_rng(seed))
            assert seen.image.shape == (400, 46, 3)
            steps = np.abs(np.diff(seen.image[..., 0], n=2, axis=0)).max()
            assert steps < 0.6

    @pytest.mark.parametrize("offset_px", [0.0, 0.3, 0.5, 0.8])
    @pytest.mark.parametrize(("width_px", "kept"), [(0.4, False), (0.7, True), (1.0, True)])
    def test_half_a_pixel_is_where_a_line_leaves_the_mask(
        self, offset_px: float, width_px: float, kept: bool
    ) -> None:
        for transposed in (False, True):
            share = np.zeros((20, 20), np.uint8)
            first = 9.0 + offset_px
            for row in range(8, 13):
                covered = min(row + 1.0, first + width_px) - max(float(row), first)
                share[row] = round(255 * max(covered, 0.0))
            mask = thin_mask(share.T.copy() if transposed else share)
            mask = mask.T if transposed else mask
            # A line that fills two pixels by half takes both.
            marked = (mask[:, 5:15] > 0).sum(axis=0)
            assert marked.min() >= int(kept)
            assert marked.max() <= (2 if width_px == 1.0 else int(kept))


class TestWallConfig:
    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"seed": -1}, "seed"),
            ({"size_hw": (31, 64)}, "size_hw"),
            ({"size_hw": (64, 9000)}, "size_hw"),
            ({"surface": "wood"}, "surface"),
            ({"crack_count": -1}, "crack_count"),
            ({"distractor_count": 101}, "distractor_count"),
        ],
    )
    def test_bad_values_are_refused_by_name(self, arguments: dict[str, Any], named: str) -> None:
        with pytest.raises(ConfigError, match=named):
            WallConfig(**arguments)


class TestCanvas:
    def test_a_view_paints_into_the_whole(self) -> None:
        whole = plain_canvas((40, 60))
        part = whole.view(10, 20, 20, 40)
        coverage = part.blank()
        coverage[0, 0] = 255
        part.shade(coverage, 0.5)
        part.blend(np.roll(coverage, 1, axis=1), (1.0, 2.0, 3.0))
        assert whole.image[10, 20].tolist() == [100.0] * 3
        assert whole.image[10, 21].tolist() == [1.0, 2.0, 3.0]
        assert np.count_nonzero(whole.image != 200.0) == 6

    def test_an_empty_map_has_no_box(self) -> None:
        assert bounding_box(np.zeros((5, 5), np.uint8)) is None


class TestDemoPath:
    def test_it_has_the_frames_it_says(self, demo: DemoPath) -> None:
        assert len(demo) == 240
        assert demo.frame_rate_hz == 25.0
        wall = demo.frame(239)
        assert wall.image.shape == (480, 640, 3)
        assert wall.mask.shape == (480, 640)

    @pytest.mark.parametrize("index", [-1, 240])
    def test_there_are_no_others(self, demo: DemoPath, index: int) -> None:
        with pytest.raises(IndexError, match=str(index)):
            demo.frame(index)

    def test_frames_repeat_in_any_order(self, demo: DemoPath) -> None:
        later, earlier = demo.frame(90), demo.frame(10)
        again = DemoPath().frame(10)
        np.testing.assert_array_equal(earlier.image, again.image)
        np.testing.assert_array_equal(earlier.mask, again.mask)
        assert not np.array_equal(earlier.image, later.image)

    def test_the_camera_shows_all_materials_and_mostly_cracks(self, demo: DemoPath) -> None:
        walls = [demo.frame(index) for index in range(0, 240, 8)]
        assert walls[0].surface == "concrete"
        assert {wall.surface for wall in walls} == set(SURFACES)
        assert all(set(np.unique(wall.mask)) <= {0, 255} for wall in walls)
        assert np.mean([np.count_nonzero(wall.mask) > 200 for wall in walls]) > 0.8

    def test_the_mask_moves_with_the_picture(self, demo: DemoPath) -> None:
        """One frame carried into the next frame's view agrees in picture and in mask."""
        for index in (5, 100, 200):
            first, second = demo.frame(index), demo.frame(index + 1)
            full = [np.vstack([demo.view_matrix(i), [0, 0, 1]]) for i in (index, index + 1)]
            motion = (full[1] @ np.linalg.inv(full[0]))[:2]
            moved = cv2.warpAffine(first.image, motion, (640, 480)).astype(float)
            inner = (slice(30, 450), slice(30, 610))
            difference = np.abs(moved[inner] - second.image[inner].astype(float)).mean()
            still = np.abs(first.image[inner].astype(float) - second.image[inner]).mean()
            assert difference < 0.7 * still
            carried = cv2.warpAffine(first.mask, motion, (640, 480), flags=cv2.INTER_NEAREST)
            near = cv2.dilate(second.mask, np.ones((3, 3), np.uint8))
            assert np.mean(near[inner][carried[inner] > 0] > 0) > 0.995

    def test_marked_pixels_are_dark_in_every_view(self, demo: DemoPath) -> None:
        for index in range(0, 240, 24):
            wall = demo.frame(index)
            if np.count_nonzero(wall.mask) > 200:
                ring = around(wall.mask, 3, 7)
                assert gray(wall)[wall.mask > 0].mean() < 0.85 * gray(wall)[ring].mean()

    def test_the_camera_never_looks_past_the_wall(self, demo: DemoPath) -> None:
        height, width = demo._wall.mask.shape
        corners = np.array([[0, 0, 1], [639, 0, 1], [0, 479, 1], [639, 479, 1]], float).T
        for index in range(len(demo)):
            seen = cv2.invertAffineTransform(demo.view_matrix(index)) @ corners
            assert seen.min() >= 0
            assert seen[0].max() <= width - 1
            assert seen[1].max() <= height - 1

    @pytest.mark.parametrize("frame_hw", [(64, 48), (720, 1280)])
    def test_other_frame_sizes(self, frame_hw: tuple[int, int]) -> None:
        path = DemoPath(seed=2, frame_hw=frame_hw, frame_count=1)
        assert len(path) == 1
        wall = path.frame(0)
        assert wall.image.shape == (*frame_hw, 3)
        assert wall.mask.shape == frame_hw

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"seed": -1}, "seed"),
            ({"frame_hw": (8, 640)}, "frame_hw"),
            ({"frame_count": 0}, "frame_count"),
        ],
    )
    def test_bad_values_are_refused_by_name(self, arguments: dict[str, Any], named: str) -> None:
        with pytest.raises(ConfigError, match=named):
            DemoPath(**arguments)


class TestWriteDataset:
    def test_round_trip(self, tmp_path: Path) -> None:
        fractions = {"train": 0.5, "val": 0.25, "test": 0.25}
        write_dataset(tmp_path / "walls", 8, (64, 80), 20, fractions)
        splits = json.loads((tmp_path / "walls" / "splits.json").read_text())
        assert {name: len(names) for name, names in splits.items()} == {
            "train": 4,
            "val": 2,
            "test": 2,
        }
        names = sorted(splits["train"] + splits["val"] + splits["test"])
        assert names == [f"{index:04d}" for index in range(8)]
        for index, name in enumerate(names):
            wall = generate_wall(WallConfig(20 + index, (64, 80)))
            image = cv2.imread(str(tmp_path / "walls" / "images" / f"{name}.png"))
            mask = cv2.imread(
                str(tmp_path / "walls" / "masks" / f"{name}.png"), cv2.IMREAD_UNCHANGED
            )
            np.testing.assert_array_equal(image, wall.image)
            np.testing.assert_array_equal(mask, wall.mask)
        assert not list(tmp_path.rglob(".*"))

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"count": 0}, "count"),
            ({"count": 1, "seed": -4}, "seed"),
            ({"count": 1, "size_hw": (1, 1)}, "size_hw"),
            ({"count": 1, "split_fractions": {"train": 0.5}}, "split_fractions"),
            ({"count": 1, "split_fractions": {"train": 1.5, "val": -0.5}}, "split_fractions"),
            ({"count": 1, "split_fractions": {"train": 0.5, "valid": 0.5}}, "split_fractions"),
        ],
    )
    def test_bad_values_are_refused_before_anything_is_written(
        self, tmp_path: Path, arguments: dict[str, Any], named: str
    ) -> None:
        with pytest.raises(ConfigError, match=named):
            write_dataset(tmp_path / "walls", **arguments)
        assert not (tmp_path / "walls").exists()

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="file"):
            write_dataset(tmp_path / "file", 1, (64, 64))


def test_importing_it_loads_no_heavy_framework() -> None:
    code = (
        "import sys, edgecrack.synthetic;"
        "print([m for m in ('torch', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert result.stdout.strip() == b"[]"
