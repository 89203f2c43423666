"""Photos of the yardstick are refused for training, under whatever name they come."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from edgecrack.data import splits
from edgecrack.data.training_set import load_training_set
from edgecrack.errors import DataError
from edgecrack.preprocess import PreprocessConfig
from tests.data.folders import make_folder, photo, write_image

PREPARED = PreprocessConfig()


@pytest.fixture
def walls(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "walls", tuple("abcdefghijkl"))


@pytest.fixture(autouse=True)
def nothing_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "reserved_hashes", lambda: frozenset[str]())


def reserve(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    hashes = frozenset(splits.content_hash(path) for path in paths)
    monkeypatch.setattr(splits, "reserved_hashes", lambda: hashes)


def test_a_hash_is_of_the_content_alone(walls: Path, tmp_path: Path) -> None:
    path = walls / "images" / "a.png"
    expected = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert splits.content_hash(path) == expected
    shutil.copy(path, tmp_path / "renamed.bin")
    assert splits.content_hash(tmp_path / "renamed.bin") == expected
    with pytest.raises(DataError, match=r"gone\.png"):
        splits.content_hash(tmp_path / "gone.png")


def test_reserved_files_are_found_in_their_order(
    walls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sorted((walls / "images").iterdir())
    reserve(monkeypatch, images[3], images[1])
    assert splits.reserved_among(images) == [images[1], images[3]]
    whole = hashlib.sha256(images[0].read_bytes()).hexdigest()
    assert splits.reserved_among(images, [whole]) == [images[0], images[1], images[3]]
    assert splits.reserved_among([]) == []


@pytest.mark.parametrize("seed", range(4))
def test_one_that_would_be_held_out_for_validation_is_refused_too(
    walls: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """What validates chooses the weights and the threshold, whichever photos the seed draws."""
    reserve(monkeypatch, *sorted((walls / "images").iterdir())[:3])
    with pytest.raises(DataError, match="yardstick"):
        load_training_set([str(walls)], PREPARED, seed=seed, hold_out=0.4)


def test_training_refuses_them_in_one_sentence(
    walls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sorted((walls / "images").iterdir())
    load_training_set([str(walls)], PREPARED, seed=0)
    reserve(monkeypatch, *images)
    with pytest.raises(DataError) as caught:
        load_training_set([str(walls)], PREPARED, seed=0)
    text = str(caught.value)
    assert "12 of 12 images of 'walls' belong to the yardstick" in text
    assert "remove them from train in splits.json" in text
    assert f"`edgecrack yardstick reserved {walls / 'images'}`" in text
    assert "\n" not in text
    assert ". " not in text.replace("splits.json, ", "")


def test_test_images_may_be_reserved_and_training_images_not(
    walls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = walls / "images"
    (walls / "splits.json").write_text('{"train": ["a", "b"], "val": ["c"], "test": ["d"]}')
    reserve(monkeypatch, images / "d.png")
    load_training_set([str(walls)], PREPARED, seed=0)
    reserve(monkeypatch, images / "b.png")
    with pytest.raises(DataError, match=r"1 of 2 images of 'walls' .*b\.png first"):
        load_training_set([str(walls)], PREPARED, seed=0)


def test_images_without_crack_and_further_hashes(tmp_path: Path, walls: Path) -> None:
    for number in range(4):
        write_image(tmp_path / "bare" / f"{number}.png", photo(level=30 + number))
    hashes = [splits.content_hash(path) for path in (tmp_path / "bare").iterdir()]
    sources = [str(walls), f"clean:{tmp_path / 'bare'}"]
    load_training_set(sources, PREPARED, seed=0)
    with pytest.raises(DataError, match="belong to the yardstick"):
        load_training_set(sources, PREPARED, seed=0, reserved=hashes)


def test_generated_walls_have_no_files_to_look_at(
    walls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def hashed(path: Path) -> str:
        seen.append(path)
        return "0" * 16

    monkeypatch.setattr(splits, "content_hash", hashed)
    load_training_set([str(walls), "synthetic:10"], PREPARED, seed=0)
    assert {path.parent for path in seen} == {walls / "images"}
