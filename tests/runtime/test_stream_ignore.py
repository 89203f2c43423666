"""`--ignore` from the command line to the files, of `stream` and of `predict`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.runtime.models import spec_of, write_model
from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[2]
HW = (96, 128)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calls bright pixels crack."""
    path = tmp_path_factory.mktemp("model") / "bright.onnx"
    return write_model(path, spec_of((64, 64), threshold=0.9))


@pytest.fixture
def walls(tmp_path: Path) -> Path:
    """Two gray walls with a bright bar at their right."""
    folder = tmp_path / "walls"
    folder.mkdir()
    for index in range(2):
        image = np.random.default_rng(index).integers(60, 90, (*HW, 3), dtype=np.uint8)
        image[40:52, 80:120] = 240
        assert cv2.imwrite(str(folder / f"{index}.png"), image)
    return folder


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgecrack", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def stream(model: Path, source: Path | str, out: Path, *words: str | Path) -> Any:
    given = ("--model", model, "--threads", "1", "--source", source, "--out", out)
    return run("stream", *given, *words)


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]


def sees_the_bar(record: dict[str, Any]) -> bool:
    """Whether there is more than the specks that the wall's own roughness gives."""
    return any(box[4] > 200 for box in record["boxes"])


def left_half(path: Path, hw: tuple[int, int] = HW) -> Path:
    drawn = np.zeros(hw, np.uint8)
    drawn[:, : hw[1] // 2] = 255
    assert cv2.imwrite(str(path), drawn)
    return path


def read(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return np.asarray(image, np.uint8)


def test_the_mask_is_that_of_the_picture_as_it_is_shown(
    tmp_path: Path, walls: Path, model: Path
) -> None:
    """The bar is at the right, and where the camera hangs upside down at the left."""
    mask = left_half(tmp_path / "arm.png", (48, 64))
    found = {}
    for flip in ("none", "horizontal"):
        out = tmp_path / flip
        done = stream(
            model, walls, out, "--ignore", mask, "--flip", flip, "--save", "mask,prob,jsonl"
        )
        assert done.returncode == 0, done.stderr
        found[flip] = [sees_the_bar(record) for record in records(out)]
        for record in records(out):
            assert (record["ignored_ratio"], record["inspected_ratio"]) == (0.5, 0.5)
            assert all(box[0] >= HW[1] // 2 for box in record["boxes"])
            assert not read(out / "prob" / f"{record['name']}.png")[:, : HW[1] // 2].any()
        summary = json.loads((out / "summary.json").read_text())
        assert summary["ignored_ratio"] == 0.5
    assert found == {"none": [True, True], "horizontal": [False, False]}


def test_polygons_of_another_size(tmp_path: Path, walls: Path, model: Path) -> None:
    polygons = [[[640, 0], [1280, 0], [1280, 960], [640, 960]]]
    document = {"schema_version": 1, "width": 1280, "height": 960, "polygons": polygons}
    (tmp_path / "arm.json").write_text(json.dumps(document))
    done = stream(model, walls, tmp_path / "out", "--ignore", tmp_path / "arm.json")
    assert done.returncode == 0, done.stderr
    assert [sees_the_bar(record) for record in records(tmp_path / "out")] == [False, False]
    assert [record["ignored_ratio"] for record in records(tmp_path / "out")] == [0.5, 0.5]


def test_an_empty_mask_is_a_warning(tmp_path: Path, walls: Path, model: Path) -> None:
    mask = tmp_path / "black.png"
    assert cv2.imwrite(str(mask), np.zeros(HW, np.uint8))
    done = stream(model, walls, tmp_path / "out", "--ignore", mask)
    assert done.returncode == 0, done.stderr
    assert f"the ignore mask {mask} ignores nothing" in done.stderr
    assert [record["ignored_ratio"] for record in records(tmp_path / "out")] == [0, 0]
    events = (tmp_path / "out" / "events.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in events]
    assert "ignore.empty" in kinds
    done = run("predict", walls, "--model", model, "--ignore", mask, "--out", tmp_path / "p")
    assert done.returncode == 0
    assert "ignores nothing" in done.stderr


@pytest.mark.parametrize("command", ["stream", "predict"])
def test_what_cannot_be_meant_is_a_sentence_before_anything_is_written(
    tmp_path: Path, walls: Path, model: Path, command: str
) -> None:
    white = tmp_path / "white.png"
    assert cv2.imwrite(str(white), np.full(HW, 255, np.uint8))
    (tmp_path / "torn.json").write_text('{"schema_version": 1,')
    source = ("--source", walls) if command == "stream" else (walls,)
    for mask, problem in (
        ("none.png", "the ignore mask none.png does not exist; check the path."),
        (white, "so nothing is left to inspect"),
        (tmp_path / "torn.json", "is not JSON: "),
    ):
        out = tmp_path / "out"
        done = run(command, *source, "--model", model, "--ignore", mask, "--out", out)
        assert done.returncode == 2, done.stderr
        assert problem in done.stderr
        assert done.stderr.count("\n") == 1
        assert not out.exists()


def test_another_shape_is_a_sentence_with_both_sizes(
    tmp_path: Path, walls: Path, model: Path
) -> None:
    mask = left_half(tmp_path / "arm.png", (96, 96))
    done = stream(model, walls, tmp_path / "out", "--ignore", mask)
    assert done.returncode == 2
    assert "is for frames of 96x96 px and cannot be fitted to frame 0 of 128x96 px" in done.stderr
    assert "Traceback" not in done.stderr
    done = run("predict", walls, "--model", model, "--ignore", mask, "--out", tmp_path / "p")
    assert done.returncode == 5  # none of the pictures could be inspected
    assert "96x96 px" in done.stderr
    assert "128x96 px" in done.stderr
    assert not list(tmp_path.glob("p/*.png"))
