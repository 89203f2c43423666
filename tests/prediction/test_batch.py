from __future__ import annotations

import csv
import http.server
import json
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, OutputError, SourceError
from edgecrack.images.nodata import with_mask
from edgecrack.metrics.counting import uint8_level
from edgecrack.prediction.batch import PredictConfig, Prediction, predict_images
from edgecrack.prediction.results import read_lines
from edgecrack.preprocess import prepare, preprocess
from edgecrack.runtime.detector import CrackDetector
from edgecrack.runtime.pipeline.ignore_mask import IgnoreMask
from tests.data.folders import turn_by_exif
from tests.margins import SHAPES, wall
from tests.runtime.models import IdentityRunner, write_quick_model
from tests.waiting import PATIENCE_S

Image = NDArray[np.uint8]
REPOSITORY = Path(__file__).resolve().parents[2]


def write_photo(path: Path, hw: tuple[int, int] = (90, 120), seed: int = 0) -> Path:
    image = np.random.default_rng(seed).integers(0, 60, (*hw, 3), dtype=np.uint8)
    image[20:26, 10:90] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def read(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return np.asarray(image, np.uint8)


def detector(threshold: float = 0.8) -> CrackDetector:
    """Calls bright pixels, as preprocessing leaves them, crack."""
    return CrackDetector(IdentityRunner((64, 64)), "bright", threshold=threshold)


RECORDS = {"predict.json", "results.csv", "results.jsonl", ".edgecrack-files"}


def names(folder: Path) -> list[str]:
    """The pictures in a folder of results."""
    return sorted(path.name for path in folder.iterdir() if path.name not in RECORDS)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_what_is_written_for_an_image(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "in" / "wall.png")
    out = tmp_path / "deep" / "out"
    found = predict_images(detector(), [photo], PredictConfig(out))
    assert names(out) == ["wall.mask.png", "wall.overlay.png", "wall.prob.png"]

    probability, mask = read(out / "wall.prob.png"), read(out / "wall.mask.png")
    assert probability.dtype == np.uint8
    assert probability.shape == mask.shape == (90, 120)
    np.testing.assert_array_equal(probability, preprocess(read(photo)))
    assert probability.max() == 255
    assert set(np.unique(mask)) == {0, 255}
    assert read(out / "wall.overlay.png").ndim == 3

    (prediction,) = found.predictions
    assert prediction.name == "wall"
    assert prediction.crack_pixels == np.count_nonzero(mask)
    assert prediction.crack_ratio == prediction.crack_pixels / mask.size
    assert [file.name for file in prediction.files] == [
        "wall.prob.png", "wall.mask.png", "wall.overlay.png",
    ]  # fmt: skip


def test_a_transparent_picture_of_16_bits(tmp_path: Path) -> None:
    """Cut to the bits in use, and no crack where it is transparent."""
    hidden = SHAPES["right"](100, 140)
    picture = np.dstack([wall(100, 140)] * 3)
    alpha = np.where(hidden, 0, 255).astype(np.uint8)
    deep = np.dstack([picture, alpha]).astype(np.uint16) * 16
    assert cv2.imwrite(str(tmp_path / "wall.png"), deep)
    predict_images(detector(), [tmp_path / "wall.png"], PredictConfig(tmp_path / "out"))
    probability = read(tmp_path / "out" / "wall.prob.png")
    expected = prepare(with_mask(picture, hidden))
    np.testing.assert_array_equal(probability, np.where(hidden, 0, np.asarray(expected)))
    assert read(tmp_path / "out" / "wall.overlay.png").shape == (100, 140, 3)


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.8, 0.999])
def test_the_mask_is_the_probability_at_the_threshold(tmp_path: Path, threshold: float) -> None:
    photo = write_photo(tmp_path / "wall.png")
    predict_images(
        detector(threshold), [photo], PredictConfig(tmp_path / "out", ("prob", "mask"), 0)
    )
    probability = read(tmp_path / "out" / "wall.prob.png")
    mask = read(tmp_path / "out" / "wall.mask.png")
    np.testing.assert_array_equal(mask == 255, probability >= uint8_level(threshold))


def test_specks_leave_the_mask_but_not_the_probability(tmp_path: Path) -> None:
    image = np.full((64, 64, 3), 20, np.uint8)
    image[10:14, 5:60] = 250
    image[40, 40] = 250
    cv2.imwrite(str(tmp_path / "a.png"), image)
    predict_images(
        detector(0.55), [tmp_path / "a.png"], PredictConfig(tmp_path / "out", min_area_px=10)
    )
    assert read(tmp_path / "out" / "a.prob.png")[40, 40] > 150
    mask = read(tmp_path / "out" / "a.mask.png")
    assert mask[40, 40] == 0
    assert mask[12, 30] == 255


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "wall.png")
    predict_images(detector(), [photo], PredictConfig(tmp_path / "out", ("mask",)))
    assert names(tmp_path / "out") == ["wall.mask.png"]


def test_folders_and_files_in_the_order_given_folders_in_natural_order(tmp_path: Path) -> None:
    folder = tmp_path / "walls"
    for name in ("w10.png", "w2.jpg", "w1.png"):
        write_photo(folder / name)
    (folder / "notes.txt").write_text("not an image")
    last = write_photo(tmp_path / "single.bmp")
    seen: list[str] = []

    def note(item: Prediction) -> None:
        assert all(file.is_file() for file in item.files)
        seen.append(item.name)

    config = PredictConfig(tmp_path / "out", ("mask",))
    found = predict_images(detector(), [folder, last], config, note)
    assert seen == [item.name for item in found.predictions] == ["w1", "w2", "w10", "single"]


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    paths = [
        write_photo(tmp_path / "a" / "wall.png", seed=1),
        write_photo(tmp_path / "b" / "wall.png", seed=2),
        write_photo(tmp_path / "b" / "wall.bmp", seed=3),
    ]
    found = predict_images(detector(), paths, PredictConfig(tmp_path / "out", ("prob",)))
    files = [item.files[0] for item in found.predictions]
    assert len(set(files)) == 3
    for path, file in zip(paths, files, strict=True):
        np.testing.assert_array_equal(read(file), preprocess(read(path)))


def test_a_damaged_image_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    good = write_photo(tmp_path / "a.png")
    bad = tmp_path / "b.png"
    bad.write_bytes(good.read_bytes()[:200])
    later = write_photo(tmp_path / "c.png")
    out = tmp_path / "out"
    found = predict_images(detector(), [good, bad, later], PredictConfig(out, ("prob", "mask")))
    assert names(out) == ["a.mask.png", "a.prob.png", "c.mask.png", "c.prob.png"]
    assert found.unreadable == ((str(bad), "is cut short"),)
    assert [item.problem for item in found.predictions] == [None, "is cut short", None]
    assert [line["problem"] for line in lines(out)] == [None, "is cut short", None]
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == [str(good), str(bad), str(later)]
    assert rows[0]["crack_pixels"] == str(found.predictions[0].crack_pixels)


def test_a_line_traces_a_result_to_its_source(tmp_path: Path) -> None:
    for name in ("001.jpg", "001.png"):
        write_photo(tmp_path / "pier" / name)
    out = tmp_path / "out"
    predict_images(detector(), [tmp_path], PredictConfig(out, ("mask",)))
    first, second = lines(out)
    assert first["source"] == str(tmp_path / "pier" / "001.jpg")
    assert first["files"] == {"mask": "pier/001_jpg.mask.png"}
    assert (out / second["files"]["mask"]).is_file()
    assert (first["width"], first["height"], first["schema_version"]) == (120, 90, 1)
    assert first["boxes"]
    assert first["seconds"] >= 0


def test_a_folder_of_only_unreadable_images_is_an_error_after_all_were_tried(
    tmp_path: Path,
) -> None:
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"a\.png is damaged.*nor can the 1 others"):
        predict_images(detector(), [tmp_path], PredictConfig(tmp_path / "out"))
    assert len(lines(tmp_path / "out")) == 2


def mixed_photos(folder: Path, count: int = 40) -> Path:
    rng = np.random.default_rng(1)
    for number in range(count):
        suffix = (".png", ".jpg", ".bmp")[number % 3]
        path = folder / f"part {number % 4}" / f"{number}{suffix}"
        write_photo(path, (int(rng.integers(30, 90)), int(rng.integers(60, 90) + 40)), number)
        if number % 11 == 5:
            path.write_bytes(path.read_bytes()[:60])
    (folder / "plan.pdf").write_bytes(b"%PDF")
    return folder


def results(folder: Path) -> dict[str, Any]:
    """All that a run left, but for how long it took."""
    found: dict[str, Any] = {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))
    }
    records = lines(folder)
    for record in records:
        record.pop("seconds")
    found["lines"] = records
    table = [re.sub(r",[\d.]+,(?=[^,]*$)", ",,", row)
             for row in (folder / "results.csv").read_text().splitlines()]  # fmt: skip
    found["table"] = table
    return found


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("seed", range(3))
def test_a_run_that_was_stopped_goes_on_to_the_same_results(seed: int, tmp_path: Path) -> None:
    photos = mixed_photos(tmp_path / "photos")
    config = PredictConfig(tmp_path / "whole", ("prob", "mask"), 0)
    predict_images(detector(), [photos], config)
    rng = random.Random(seed)
    resumed = PredictConfig(tmp_path / "parts", ("prob", "mask"), 0, existing="continue")
    seen: list[str] = []
    for _ in range(30):
        left = rng.randrange(1, 12)

        def stop(item: Prediction) -> None:
            nonlocal left
            seen.append(item.source)
            left -= 1
            if not left:
                raise StoppedError

        try:
            batch = predict_images(detector(), [photos], resumed, stop)
        except StoppedError:
            continue
        break
    failed = {source for source, _ in batch.unreadable}
    read_ones = [source for source in seen if source not in failed]
    assert len(read_ones) == len(set(read_ones)) == 36  # nothing was done twice
    assert set(seen) > failed - {str(photos / "plan.pdf")}
    assert batch.done_earlier + len(batch.predictions) == 40
    assert len(batch.unreadable) == 5
    assert results(tmp_path / "parts") == results(tmp_path / "whole")


def test_a_line_torn_by_a_kill_is_done_again(tmp_path: Path) -> None:
    photos = mixed_photos(tmp_path / "photos", 6)
    out = tmp_path / "out"
    predict_images(detector(), [photos], PredictConfig(out, ("mask",), 0))
    before = results(out)
    file = out / "results.jsonl"
    file.write_bytes(file.read_bytes()[:-30])
    config = PredictConfig(out, ("mask",), 0, existing="continue")
    batch = predict_images(detector(), [photos], config)
    # the torn one, and the one that could not be read
    assert (len(batch.predictions), batch.done_earlier) == (2, 4)
    assert results(out) == before


def test_going_on_with_other_photos_of_the_same_name_keeps_both(tmp_path: Path) -> None:
    first = write_photo(tmp_path / "pier 1" / "a.jpg", seed=1)
    second = write_photo(tmp_path / "pier 2" / "a.jpg", (60, 140), 2)
    out = tmp_path / "out"
    config = PredictConfig(out, ("mask",), 0, existing="continue")
    predict_images(detector(), [first], config)
    before = (out / "a.mask.png").read_bytes()
    batch = predict_images(detector(), [second], config)
    assert [one.name for one in batch.predictions] == ["a_2"]
    assert (out / "a.mask.png").read_bytes() == before
    batch = predict_images(detector(), [second, first], config)
    assert batch.done_earlier == 2
    table = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert {row["name"]: row["source"] for row in table} == {"a": str(first), "a_2": str(second)}


def test_what_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "in" / "a.png")
    sound = write_photo(tmp_path / "in" / "b.png")
    whole = photo.read_bytes()
    photo.write_bytes(whole[:60])
    out = tmp_path / "out"
    config = PredictConfig(out, ("mask",), 0, existing="continue")
    for _ in range(2):
        batch = predict_images(detector(), [photo, sound], config)
        assert len(batch.unreadable) == 1
        assert len(lines(out)) == 2  # the same is not said twice
    photo.write_bytes(whole)
    batch = predict_images(detector(), [photo, sound], config)
    assert not batch.unreadable
    assert (out / "a.mask.png").is_file()


def test_refused_pictures_beside_a_sound_one_are_no_failure(tmp_path: Path) -> None:
    write_photo(tmp_path / "in" / "a.png")
    for name in ("b.pdf", "c.gif"):
        (tmp_path / "in" / name).write_bytes(b"x")
    batch = predict_images(detector(), [tmp_path / "in"], PredictConfig(tmp_path / "out"))
    assert len(batch.unreadable) == 2


@pytest.mark.parametrize("settings", [b"[]", b"\xff\xfe{", b"{"])
def test_damaged_settings_are_said(settings: bytes, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.png")
    out = tmp_path / "out"
    config = PredictConfig(out, ("mask",), existing="continue")
    predict_images(detector(), [photo], config)
    (out / "predict.json").write_bytes(settings)
    with pytest.raises(OutputError, match=r"predict\.json"):
        predict_images(detector(), [photo], config)


@pytest.mark.parametrize("line", [b'{"source": 5}\n', b"\xff\xfe\n", b'{"source": "a"}\n', b"[]\n"])
def test_foreign_lines_are_passed_over(line: bytes, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.png")
    out = tmp_path / "out"
    config = PredictConfig(out, ("mask",), existing="continue")
    predict_images(detector(), [photo], config)
    file = out / "results.jsonl"
    file.write_bytes(line + file.read_bytes())
    assert predict_images(detector(), [photo], config).done_earlier == 1


def test_another_mask_of_the_same_name_is_not_gone_on_with(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.png")
    out = tmp_path / "out"
    for side in (30, 50):
        drawn = np.zeros((90, 120), np.bool_)
        drawn[:, :side] = True
        config = PredictConfig(
            out, ("mask",), ignore=IgnoreMask("arm.png", (90, 120), drawn), existing="continue"
        )
        if side == 30:
            predict_images(detector(), [photo], config)
        else:
            with pytest.raises(ConfigError, match="ignore_sha256"):
                predict_images(detector(), [photo], config)


def test_memory_that_does_not_suffice_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [write_photo(tmp_path / "in" / f"{name}.png", seed=ord(name)) for name in "ab"]
    model = detector()
    inspect = model.ignoring(None).probability_of
    calls = 0

    def fail_once(image: Image) -> Image:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise MemoryError
        return inspect(image)

    monkeypatch.setattr(CrackDetector, "probability_of", lambda self, image: fail_once(image))
    batch = predict_images(model, photos, PredictConfig(tmp_path / "out"))
    assert [why for _, why in batch.unreadable] == ["does not fit into memory"]
    assert len(batch.predictions) == 2


def test_a_photo_that_changed_is_done_again(tmp_path: Path) -> None:
    photos = mixed_photos(tmp_path / "photos", 4)
    out = tmp_path / "out"
    config = PredictConfig(out, ("mask",), 0, existing="continue")
    predict_images(detector(), [photos], config)
    write_photo(photos / "part 0" / "0.png", (50, 110), 99)
    (out / "part 1" / "1.mask.png").unlink()
    batch = predict_images(detector(), [photos], config)
    assert [item.name for item in batch.predictions] == ["part 0/0", "part 1/1"]


def test_other_settings_are_not_gone_on_with(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "wall.png")
    out = tmp_path / "out"
    predict_images(detector(), [photo], PredictConfig(out, ("mask",)))
    config = PredictConfig(out, ("mask",), existing="continue")
    with pytest.raises(ConfigError, match=r"had threshold 0\.8, not 0\.5"):
        predict_images(detector(0.5), [photo], config)


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "walls"
    write_photo(folder / "wall.png", seed=1)
    victim = write_photo(folder / "wall.mask.png", seed=2)
    before = victim.read_bytes()
    with pytest.raises(OutputError, match=r"holds wall\.mask\.png, which no earlier run made"):
        predict_images(detector(), [folder], PredictConfig(folder))
    assert victim.read_bytes() == before


def test_an_input_is_not_overwritten_through_a_link(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "wall.png")
    out = tmp_path / "out"
    out.mkdir()
    (out / "wall.prob.png").symlink_to(photo)
    before = photo.read_bytes()
    with pytest.raises(OutputError, match="input"):
        predict_images(detector(), [photo], PredictConfig(out))
    assert photo.read_bytes() == before


def test_a_second_run_goes_beside_or_replaces(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "wall.png")
    config = PredictConfig(tmp_path / "out", ("mask",), 0)
    first = predict_images(detector(0.9), [photo], config)
    few = np.count_nonzero(read(tmp_path / "out" / "wall.mask.png"))
    second = predict_images(detector(0.1), [photo], config)
    assert (first.folder, first.note) == (tmp_path / "out", "")
    assert second.folder == tmp_path / "out-2"
    assert "out-2" in second.note
    assert np.count_nonzero(read(second.folder / "wall.mask.png")) > few
    assert np.count_nonzero(read(tmp_path / "out" / "wall.mask.png")) == few
    again = PredictConfig(tmp_path / "out", ("mask",), 0, existing="overwrite")
    assert predict_images(detector(0.1), [photo], again).folder == tmp_path / "out"
    assert np.count_nonzero(read(tmp_path / "out" / "wall.mask.png")) > few
    assert names(tmp_path / "out") == ["wall.mask.png"]


def test_results_beside_the_photos_are_never_inspected(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "wall.png")
    for _ in range(2):
        config = PredictConfig(tmp_path, ("mask", "overlay"), existing="overwrite")
        batch = predict_images(detector(), [tmp_path], config)
        assert [item.source for item in batch.predictions] == [str(photo)]


def test_gray_and_sixteen_bit_images_are_taken(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "gray.png"), np.full((70, 80), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((70, 80, 3), 9000, np.uint16))
    found = predict_images(
        detector(), [tmp_path / "gray.png", tmp_path / "deep.png"], PredictConfig(tmp_path / "out")
    )
    assert [item.name for item in found.predictions] == ["gray", "deep"]


@pytest.mark.parametrize("save", [("prob", "nonsense"), ("jsonl",), ()])
def test_unknown_outputs_are_refused(tmp_path: Path, save: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="prob, mask, overlay"):
        PredictConfig(tmp_path, save)


def test_a_negative_area_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="-5"):
        PredictConfig(tmp_path, min_area_px=-5)


def test_a_wrong_path_leaves_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        predict_images(detector(), [tmp_path / "none.png"], PredictConfig(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_out_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "wall.png")
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=str(out)):
            predict_images(detector(), [photo], PredictConfig(out))


def upper_left(hw: tuple[int, int] = (90, 120)) -> IgnoreMask:
    drawn = np.zeros(hw, np.bool_)
    drawn[: hw[0] // 2, : hw[1] // 3] = True
    return IgnoreMask("arm.png", hw, drawn)


def test_what_is_ignored_is_0_and_hatched(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "wall.png")
    mask = upper_left((45, 60))
    config = PredictConfig(tmp_path / "out", ignore=mask)
    (found,) = predict_images(detector(), [photo], config).predictions
    (plain,) = predict_images(detector(), [photo], PredictConfig(tmp_path / "plain")).predictions
    ignored = mask.drawn_at((90, 120))
    probability = read(tmp_path / "out" / "wall.prob.png")
    assert not probability[ignored].any()
    assert probability[~ignored].any()
    assert not read(tmp_path / "out" / "wall.mask.png")[ignored].any()
    assert 0 < found.crack_pixels < plain.crack_pixels
    (line,) = read_lines(tmp_path / "out" / "results.jsonl")
    assert line["ignored_ratio"] == round(float(ignored.mean()), 4)
    assert line["inspected_ratio"] == round(1 - float(ignored.mean()), 4)
    overlays = [read(tmp_path / name / "wall.overlay.png") for name in ("out", "plain")]
    assert (overlays[0][ignored].astype(int) - overlays[1][ignored]).any(axis=1).mean() > 0.9


def test_the_mask_is_that_of_the_picture_as_it_is_shown(tmp_path: Path) -> None:
    """Of a photo that its EXIF data turn, the mask belongs to the turned one."""
    photo = write_photo(tmp_path / "wall.jpg", (120, 90))
    turn_by_exif(photo, 6)
    mask = upper_left((90, 120))
    shown = cv2.imread(str(photo))  # which turns it
    assert shown is not None
    assert cv2.imwrite(str(tmp_path / "shown.png"), shown)
    config = PredictConfig(tmp_path / "out", ("prob",), ignore=mask)
    predict_images(detector(), [photo, tmp_path / "shown.png"], config)
    found, expected = (read(tmp_path / "out" / f"{name}.prob.png") for name in ("wall", "shown"))
    assert found.shape == (90, 120)
    assert not found[mask.drawn_at((90, 120))].any()
    assert np.abs(found.astype(int) - expected).mean() < 3  # decoders round differently


def test_a_photo_of_another_shape_than_the_mask_is_named_and_the_others_are_done(
    tmp_path: Path,
) -> None:
    paths = [
        write_photo(tmp_path / "a.png"),
        write_photo(tmp_path / "c.png", (120, 90)),
        write_photo(tmp_path / "b.png", (180, 240)),
    ]
    out = tmp_path / "out"
    config = PredictConfig(out, ("mask",), ignore=upper_left())
    batch = predict_images(detector(), paths, config)
    assert names(out) == ["a.mask.png", "b.mask.png"]
    ((source, problem),) = batch.unreadable
    assert source == str(paths[1])
    assert "for frames of 120x90 px" in problem


class Photos(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = partial(Photos, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://bob:hunter2@127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(PATIENCE_S)


def test_pictures_by_address(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "site" / "wall 1.png")
    (tmp_path / "site" / "page.png").write_text("<html>")
    out = tmp_path / "out"
    with served(tmp_path / "site") as site:
        words = [f"{site}/wall%201.png", f"{site}/gone.png", f"{site}/page.png"]
        batch = predict_images(detector(), words, PredictConfig(out, ("prob",)))
    np.testing.assert_array_equal(read(out / "wall 1.prob.png"), preprocess(read(photo)))
    assert [item.problem is None for item in batch.predictions] == [True, False, False]
    assert "404" in dict(batch.unreadable)[batch.predictions[1].source]
    assert "hunter2" not in (out / "results.jsonl").read_text() + (out / "results.csv").read_text()


def test_addresses_that_differ_in_a_token_alone_are_two_images(tmp_path: Path) -> None:
    write_photo(tmp_path / "site" / "wall.png")
    out = tmp_path / "out"
    config = PredictConfig(out, ("mask",), existing="continue")
    with served(tmp_path / "site") as site:
        words = [f"{site}/wall.png?token={token}" for token in "ab"]
        for _ in range(2):  # which of them was done is not known: both are done again
            batch = predict_images(detector(), words, config)
            assert len({one.source for one in batch.predictions}) == 1
            assert len({one.name for one in batch.predictions}) == 2
            rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
            assert {row["name"] for row in rows} == {one.name for one in batch.predictions}
            assert len(names(out)) == 2


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_results(tmp_path: Path) -> None:
    photos = mixed_photos(tmp_path / "photos", 300)
    model = write_quick_model(tmp_path / "quick.onnx")

    def run(out: str, *more: str) -> subprocess.Popen[bytes]:
        words = ["-m", "edgecrack", "predict", str(photos), "--out", out, "--model", str(model)]
        return subprocess.Popen(
            [sys.executable, *words, "--save", "mask", "--threads", "1", *more],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )

    with run("whole") as whole:
        whole.communicate(timeout=PATIENCE_S)
        assert whole.returncode == 12
    rng = random.Random(5)
    for _ in range(60):
        with run("parts", "--resume") as part:
            assert part.stdout is not None
            for _ in range(rng.randrange(5, 60)):
                if not part.stdout.readline():
                    break
            part.kill()
            part.stdout.close()
            part.wait(PATIENCE_S)
        if (tmp_path / "parts" / "results.csv").is_file():
            break
    with run("parts", "--resume") as last:
        last.communicate(timeout=PATIENCE_S)
    assert results(tmp_path / "parts") == results(tmp_path / "whole")
