"""`yardstick.json`: written and read back, and every way in which it can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecrack.errors import DataError
from edgecrack.yardstick.manifest import (
    Item,
    TrueCrack,
    check_masks,
    is_yardstick,
    open_yardstick,
    write_manifest,
)

HW = (20, 30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cracked pictures, the first with the least that an entry needs, and a clean one."""
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        image = rng.integers(0, 256, (*HW, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    mask = np.zeros(HW, np.uint8)
    mask[5:8] = 255
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.mask.png"), mask)
    write(tmp_path, document())
    return tmp_path


def document() -> dict[str, Any]:
    return {
        "schema_version": 1,
        "made_by": "hand",
        "blur_px": 0.8,
        "items": [
            {"name": "a", "image": "a.png", "mask": "a.mask.png"},
            {
                "name": "b",
                "image": "b.png",
                "mask": "b.mask.png",
                "origin": "rendered",
                "surface": "masonry",
                "photo": "p",
                "cracks": [[[0, 6, 2.5], [10, 6, 3.5], [20, 6.5, 3.0]]],
                "sources_sha256": ["0" * 64],
            },
            {"name": "c", "image": "c.png", "kind": "clean", "origin": "photo"},
        ],
    }


def write(folder: Path, content: object) -> None:
    (folder / "yardstick.json").write_text(json.dumps(content))


def test_what_is_written_down_is_read(folder: Path) -> None:
    assert is_yardstick(folder)
    assert not is_yardstick(folder / "a.png")
    yardstick = open_yardstick(folder)
    check_masks(yardstick)
    assert yardstick.blur_px == 0.8
    assert yardstick.about["made_by"] == "hand"
    first, second, clean = yardstick.items
    assert yardstick.cracked == (first, second)
    assert yardstick.crack_free == (clean,)
    assert (first.origin, first.surface, first.photo) == ("labelled", "concrete", "a")
    assert [item.is_real for item in yardstick.items] == [True, False, True]
    assert first.image().shape == (*HW, 3)
    assert np.count_nonzero(first.mask()) == 3 * HW[1]
    assert not clean.mask().any()
    assert clean.mask().shape == HW
    (crack,) = second.cracks
    assert crack.points.tolist() == [[0, 6], [10, 6], [20, 6.5]]
    assert crack.width_px == 3.0


def test_written_and_read_again(folder: Path) -> None:
    before = open_yardstick(folder)
    write_manifest(folder, before.items, before.blur_px, before.about)
    after = open_yardstick(folder)
    assert (after.blur_px, dict(after.about)) == (before.blur_px, dict(before.about))
    for one, other in zip(before.items, after.items, strict=True):
        for name in ("name", "image_path", "mask_path", "kind", "origin", "surface", "photo"):
            assert getattr(one, name) == getattr(other, name)
        assert one.sources_sha256 == other.sources_sha256
        assert [crack.points.tolist() for crack in one.cracks] == [
            crack.points.tolist() for crack in other.cracks
        ]


def test_widths_and_points_keep_two_decimals(folder: Path) -> None:
    points = np.array([[1.2345, 6.789]], np.float32)
    crack = TrueCrack(points, np.array([0.7512], np.float32))
    item = Item("a", folder / "a.png", folder / "a.mask.png", origin="rendered", cracks=(crack,))
    write_manifest(folder, [item], None, {})
    again = open_yardstick(folder)
    assert again.blur_px is None
    assert again.items[0].photo == item.photo == "a"
    assert again.items[0].cracks[0].points == pytest.approx(points, abs=0.006)
    assert again.items[0].cracks[0].width_px == pytest.approx(0.75)


def first(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Change one thing of the first picture."""
    return lambda found: found["items"][0].update({key: value})


def clean(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda found: found["items"][2].update({key: value})


def whole(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda found: found.update({key: value})


@pytest.mark.parametrize(
    ("change", "message", "remedy"),
    [
        (whole("schema_version", 2), "has schema version 2", "update edgecrack: "),
        (whole("schema_version", "1"), "has schema version '1'", "build the yardstick again"),
        (whole("schema_version", True), "has schema version True", "build the yardstick again"),
        (whole("schema_version", None), "has schema version None", "build the yardstick again"),
        (whole("items", []), "lists no pictures", "build the yardstick again"),
        (whole("items", {"a": 1}), "lists no pictures", "build the yardstick again"),
        (whole("items", ["a.png"]), "entry 1 is not an object", "fix the entry"),
        (whole("blur_px", "much"), "the blur_px 'much'", "give a number"),
        (whole("blur_px", float("nan")), "it contains NaN", "fix the entry"),
        (whole("blur_px", -1), "the blur_px -1", "give a number"),
        (first("name", None), "entry 1 has the name None", "fix the entry"),
        (first("name", ""), "entry 1 has the name ''", "fix the entry"),
        (first("name", "two\nlines"), r"the name 'two\\nlines'", "fix the entry"),
        (first("name", "\ud800"), "the name", "fix the entry"),
        (first("name", "b"), "names 'b' twice", "its own name"),
        (first("origin", "found"), "the origin 'found'", "an origin of generated, rendered"),
        (first("origin", ["photo"]), r"the origin \['photo'\]", "an origin of"),
        (first("kind", 3), "the kind 3", '"crack" or "clean"'),
        (first("kind", "clean"), "'a' has the kind 'clean' and a mask", "any other has none"),
        (first("mask", None), "'a' has no mask", 'of the kind "crack" has a mask'),
        (first("surface", None), "the surface None", "as a word"),
        (first("surface", ""), "the surface ''", "as a word"),
        (first("photo", 7), "the photo 7", "as a word"),
        (first("image", "d.png"), "the file d.png of 'a' is missing", "fix the entry"),
        (first("mask", "d.png"), "the file d.png of 'a' is missing", "fix the entry"),
        (first("image", "."), "the file . of 'a' is missing", "fix the entry"),
        (first("image", "x" * 5000), "of 'a' is missing", "fix the entry"),
        (first("image", "a\0.png"), "of 'a' is missing", "fix the entry"),
        (first("image", None), "'a' names the file None", "fix the entry"),
        (first("mask", ""), "'a' names the file ''", "fix the entry"),
        (first("image", "/etc/passwd"), "which is elsewhere", "below the yardstick's folder"),
        (first("image", "../a.png"), "which is elsewhere", "below the yardstick's folder"),
        (first("mask", "b/../../a.png"), "which is elsewhere", "below the yardstick's folder"),
        (first("cracks", None), "the cracks of 'a' are damaged", "fix the entry"),
        (first("cracks", [[]]), "the cracks of 'a' are damaged", "fix the entry"),
        (first("cracks", [[[1, 2]]]), "not points of x, y and width", "fix the entry"),
        (first("cracks", [[1, 2, 3]]), "not points of x, y and width", "fix the entry"),
        (first("cracks", [[[1, 2, 3], [1, 2]]]), "the cracks of 'a'", "fix the entry"),
        (first("cracks", [[[1, 2, 0]]]), "not points of x, y and width", "fix the entry"),
        (first("cracks", [[[1, 2, -3]]]), "not points of x, y and width", "fix the entry"),
        (first("cracks", [[[1e300, 2, 3]]]), "not points of x, y and width", "fix the entry"),
        (first("cracks", [[["x", 2, 3]]]), "the cracks of 'a' are damaged", "fix the entry"),
        (clean("cracks", [[[1, 2, 3]]]), "'c' has the kind 'clean' and cracks", "fix the entry"),
        (first("sources_sha256", None), "the sources_sha256 None", "fix the entry"),
        (first("sources_sha256", "00"), "the sources_sha256 '00'", "fix the entry"),
        (first("sources_sha256", [1]), r"the sources_sha256 \[1\]", "fix the entry"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(
    folder: Path, change: Callable[[dict[str, Any]], None], message: str, remedy: str
) -> None:
    content = document()
    change(content)
    write(folder, content)
    with pytest.raises(DataError, match=message) as caught:
        open_yardstick(folder)
    assert remedy in caught.value.remedy
    assert str(folder / "yardstick.json") in caught.value.problem


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"yes"', "[" * 100_000])
def test_damaged_json(folder: Path, text: str) -> None:
    (folder / "yardstick.json").write_text(text)
    with pytest.raises(DataError, match=r"cannot read .*yardstick\.json"):
        open_yardstick(folder)


def test_other_bytes_and_no_file(folder: Path) -> None:
    (folder / "yardstick.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match="cannot read"):
        open_yardstick(folder)
    (folder / "yardstick.json").unlink()
    assert not is_yardstick(folder)
    for missing in (folder, folder / "nowhere"):
        with pytest.raises(DataError, match=r"there is no .*build a yardstick with"):
            open_yardstick(missing)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros(HW, np.uint8), r"a\.mask\.png marks no pixel as crack"),
        (np.full(HW, 255, np.uint8), r"a\.mask\.png marks every pixel as crack"),
        (np.eye(24, 30, dtype=np.uint8) * 255, r"a\.mask\.png has 30x24 px, .*'a' 30x20"),
        (np.eye(*HW, dtype=np.uint8) * 90, "contains no value above 90"),
    ],
    ids=["black", "white", "another size", "gray"],
)
def test_masks_that_mean_nothing(folder: Path, mask: np.ndarray[Any, Any], message: str) -> None:
    cv2.imwrite(str(folder / "a.mask.png"), mask)
    with pytest.raises(DataError, match=message):
        check_masks(open_yardstick(folder))


def test_a_damaged_picture_is_found_before_anything_is_scored(folder: Path) -> None:
    (folder / "b.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"b\.png"):
        check_masks(open_yardstick(folder))
