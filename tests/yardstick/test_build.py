"""Building a yardstick from what the data folder has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edgecrack.cli import app
from edgecrack.data.splits import reserved_hashes
from edgecrack.errors import ConfigError, DataError
from edgecrack.yardstick import building
from edgecrack.yardstick.building import YardstickConfig, build_yardstick
from edgecrack.yardstick.manifest import MANIFEST, open_yardstick
from edgecrack.yardstick.outlines import rasterise, read_outlines
from edgecrack.yardstick.strata import WIDTH_CLASSES, width_class

_SAID: list[str] = []


@pytest.fixture(scope="module")
def without_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A yardstick of what needs no photos; what the build says is in `_SAID`."""
    folder = tmp_path_factory.mktemp("yardstick")
    data = folder / "data"
    data.mkdir()
    _SAID.clear()
    config = YardstickConfig(data, folder / "out", per_cell=1, walls=2)
    build_yardstick(config, on_message=_SAID.append)
    return folder / "out"


@pytest.fixture
def walls_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty data folder, of which builds make nothing but walls, which is quick."""
    monkeypatch.setattr(building, "_pictures", lambda config, on_message: building._walls(config))
    data = tmp_path / "data"
    data.mkdir()
    return data


def test_without_photos_masonry_and_walls_are_left_and_what_lacks_is_said(
    without_photos: Path,
) -> None:
    made = open_yardstick(without_photos)
    rendered = [item for item in made.items if item.origin == "rendered"]
    assert {item.surface for item in rendered} == {"masonry"}
    assert any(item.origin == "generated" for item in made.items)
    for lacking in ("concrete_tiles", "uav315", "concrete", "drone", "vehicle", "asphalt"):
        assert any(lacking in message for message in _SAID)


def test_every_width_class_has_cracks_whose_width_is_in_it(without_photos: Path) -> None:
    widths = Counter[int]()
    for item in open_yardstick(without_photos).cracked:
        for crack in item.cracks:
            low, high = item.name.split("-")[2:4]
            # The median along what shows differs a little from the one that was asked for.
            assert 0.6 * int(low) <= crack.width_px <= 1.5 * int(high.removesuffix("px"))
            widths[width_class(crack.width_px)] += 1
    assert set(widths) == set(range(len(WIDTH_CLASSES)))


def test_pictures_without_crack_have_no_mask_and_those_with_one_show_it(
    without_photos: Path,
) -> None:
    made = open_yardstick(without_photos)
    assert all(item.mask_path is None for item in made.crack_free)
    assert {"joint", "lettering", "gauge", "clean"} <= {item.kind for item in made.crack_free}
    for item in made.cracked:
        share = np.count_nonzero(item.mask()) / item.mask().size
        assert 0 < share < 0.6
        assert item.image().shape[:2] == item.mask().shape


def test_the_same_data_and_seed_give_the_same_bytes(walls_alone: Path, tmp_path: Path) -> None:
    made = build_yardstick(YardstickConfig(walls_alone, tmp_path / "one", walls=3))
    again = build_yardstick(YardstickConfig(walls_alone, tmp_path / "two", walls=3))
    other = build_yardstick(YardstickConfig(walls_alone, tmp_path / "three", walls=3, seed=1))
    paths = [made.folder / MANIFEST, *sorted(made.folder.glob("*/*.png"))]
    assert len(paths) == 7
    for path in paths:
        twin, third = (item.folder / path.relative_to(made.folder) for item in (again, other))
        assert twin.read_bytes() == path.read_bytes()
        assert third.read_bytes() != path.read_bytes()


def test_a_rendered_picture_depends_on_its_name_and_the_seed_alone(
    without_photos: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    config = YardstickConfig(data, tmp_path / "out", per_cell=1)
    first = next(building._rendered(config, "masonry"))
    stored = cv2.imread(str(without_photos / "images" / f"{first.item.name}.png"))
    np.testing.assert_array_equal(stored, first.image)


def test_an_earlier_yardstick_is_replaced_and_anything_else_left_alone(
    walls_alone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    build_yardstick(YardstickConfig(walls_alone, out, walls=3))
    (out / "notes.txt").write_text("mine")
    smaller = build_yardstick(YardstickConfig(walls_alone, out, walls=1))
    assert (out / "notes.txt").read_text() == "mine"
    assert len(list((out / "images").iterdir())) == len(smaller.items) == 1
    photos = tmp_path / "photos"
    (photos / "images").mkdir(parents=True)
    with pytest.raises(ConfigError, match="is not a yardstick; give a new folder"):
        build_yardstick(YardstickConfig(walls_alone, photos))
    assert list(photos.iterdir()) == [photos / "images"]


def test_a_build_that_was_cut_short_is_no_yardstick(
    walls_alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    build_yardstick(YardstickConfig(walls_alone, out, walls=1))

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(building, "write_manifest", broken)
        with pytest.raises(KeyboardInterrupt):
            build_yardstick(YardstickConfig(walls_alone, out, walls=1))
    with pytest.raises(DataError, match=r"there is no .*yardstick\.json"):
        open_yardstick(out)
    # What is left of it is recognised as such and replaced.
    assert build_yardstick(YardstickConfig(walls_alone, out, walls=1)).items
    assert {path.name for path in out.iterdir()} == {"images", "masks", MANIFEST}


def test_an_outlined_photo_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "concrete_tiles" / "positive"
    folder.mkdir(parents=True)
    for outline in read_outlines():
        cv2.imwrite(str(folder / f"{outline.tile}.jpg"), np.full((100, 100, 3), 120, np.uint8))
    with pytest.raises(DataError, match="is 100x100 px and its outline was drawn on 227x227"):
        build_yardstick(YardstickConfig(tmp_path / "data", tmp_path / "out"))


@pytest.mark.parametrize(
    "values", [{"per_cell": 0}, {"blur_px": -1.0}, {"walls": -1}, {"seed": -1}, {"blur_px": 99.0}]
)
def test_numbers_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="give"):
        YardstickConfig(Path("data"), Path("out"), **values)  # type: ignore[arg-type]


def test_the_command_says_what_it_wrote_and_what_next(walls_alone: Path, tmp_path: Path) -> None:
    arguments = ["yardstick", "build", "--data", str(walls_alone), "--walls", "2"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "2 pictures with cracks, 0 without" in done.stdout
    assert f"edgecrack evaluate MODEL --data {tmp_path / 'out'}" in done.stdout


def test_a_data_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the data folder .*nowhere does not exist"):
        build_yardstick(YardstickConfig(tmp_path / "nowhere", tmp_path / "out"))


@pytest.mark.slow
def test_outlines_and_labels_of_the_real_photos(data_folder: Path, tmp_path: Path) -> None:
    made = build_yardstick(YardstickConfig(data_folder, tmp_path / "out", per_cell=1, walls=0))
    counts = Counter(item.origin for item in made.cracked)
    assert counts["outlined"] == len(read_outlines()) == 60
    assert counts["labelled"] == 63
    for outline in read_outlines()[:5]:
        item = next(item for item in made.items if item.name.endswith(f"-{outline.tile}"))
        np.testing.assert_array_equal(item.mask() > 0, rasterise(outline.first, outline.size_hw))
    # Whatever a picture was made of must not be trained on.
    sources = {name[:16] for item in made.items for name in item.sources_sha256}
    assert sources
    assert sources <= reserved_hashes()
