"""`edgecrack plan` as it is typed: what it prints, and what it says of bad input."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from edgecrack import cli
from edgecrack.scale.camera_file import CameraFile, write_camera


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]

LENS = "--focal-px 2000 --resolution 2000x1000"
MOVING = f"{LENS} --distance-m 1 --speed-m-s 0.5 --exposure-ms 1 --fps 4"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls the program's entry point in this process."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("EDGECRACK_DEBUG", raising=False)

    def call(words: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["edgecrack", "plan", *words.split()])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    matrix = np.array([[2000.0, 0, 999.5], [0, 2000, 499.5], [0, 0, 1]])
    path = tmp_path / "camera.yaml"
    write_camera(path, CameraFile(matrix, np.zeros(5), (2000, 1000)))
    return path


def test_a_run_as_a_table_with_warnings(run: Run) -> None:
    assert (
        run(f"{MOVING} --width-mm 1").out
        == """\
                                               value
scale                                    0.500 mm/px
a frame shows, width x height         1.00 x 0.500 m
motion blur                                  1.00 px
fastest for 1 px of blur                   0.500 m/s
overlap of frames                               75 %
fastest for 70 % of overlap                0.600 m/s
fewest frames for 70 % of overlap      3.33 frames/s
cracks are found from                       0.511 mm
measured in half of the places from         0.511 mm
measured in nearly all places from           1.02 mm
  that width at one place (95 %), +-        0.767 mm
  its mean along a crack (95 %), +-         0.256 mm
mean sure to +-0.1 mm (k = 2) from                no
  for all measured widths, up to        0.338 m away
1 mm is measured up to                  0.977 m away
surface in an hour, one pass                1,800 m2
recording in an hour                         10.1 GB

warning: cracks of 1 mm are found, but not measured in nearly all places; \
go to 0.977 m or nearer, or take a longer lens or more pixels.
"""
    )


def test_a_tripod_says_nothing_of_motion(run: Run) -> None:
    code, out, err = run(f"{LENS} --distance-m 0.2")
    assert (code, err) == (0, "")
    assert "blur" not in out
    assert "overlap" not in out
    assert "warning" not in out
    assert "mean sure to +-0.1 mm (k = 2) from" in out


def test_feet_and_inches_stand_beside_metres(run: Run) -> None:
    out = run(f"{MOVING} --units imperial").out
    assert re.search(r"a frame shows, .* 1\.00 x 0\.500 m +3\.28 x 1\.64 ft\n", out)
    assert re.search(r"scale +0\.500 mm/px +0\.0197 in/px\n", out)
    assert re.search(r"surface in an hour, one pass +1,800 m2 +19,375 ft2\n", out)
    assert re.search(r"overlap of frames +75 %\n", out)


def test_json_has_all_figures_and_what_was_given(run: Run) -> None:
    code, out, err = run(f"{MOVING} --json")
    report = json.loads(out, parse_constant=pytest.fail)
    assert (code, err) == (0, "")
    assert report["mm_per_pixel"] == 0.5
    assert report["footprint_m"] == [1.0, 0.5]
    assert report["certain_mm"] is None
    assert len(report["warnings"]) == 1
    assert report["given"]["speed_m_s"] == 0.5


@pytest.mark.parametrize("words", ["", "--resolution 2000x1000"])
def test_a_camera_file_has_focal_length_and_resolution(run: Run, camera: Path, words: str) -> None:
    expected = run(f"{LENS} --distance-m 1").out
    assert run(f"--camera {camera} --distance-m 1 {words}").out == expected


def test_a_camera_file_at_another_resolution_of_the_same_view(run: Run, camera: Path) -> None:
    report = json.loads(run(f"--camera {camera} --resolution 4000x2000 --distance-m 1 --json").out)
    assert report["mm_per_pixel"] == pytest.approx(0.25)
    assert report["footprint_m"] == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize(
    ("words", "problem", "remedy"),
    [
        (f"{LENS} --distance-m 0", "distance.m`? is 0.0", "metres above 0, such as 1.5"),
        (f"{LENS} --distance-m -1", "distance.m`? is -1.0", "metres above 0"),
        (f"{LENS} --distance-m nan", "distance.m`? is nan", "metres above 0"),
        (f"{LENS} --distance-m far", "--distance-m is 'far'", "give a number"),
        (LENS, "missing option '--distance-m'", "see `.*edgecrack plan --help`"),
        ("--resolution 99x99 --distance-m 1", "no camera is given", "fov.deg"),
        (f"{LENS} --distance-m 1 --fov-deg 60", "are more than one camera", "give"),
        (f"{LENS} --distance-m 1 --speed-m-s 1", "without an exposure time", "exposure.ms"),
        (f"{MOVING} --exposure-ms 300", "300 ms of exposure", "lower"),
        (f"{LENS} --distance-m 1 --fps 0", "is 0.0", "above 0"),
        (f"{LENS} --distance-m 1 --units feet", "--units is 'feet'", "metric or imperial"),
        (f"{LENS} --distance-m 1 --along depth", "along`? is 'depth'", "height or width"),
        ("--fov-deg 60 --distance-m 1", "--resolution is not given", "such as 1920x1080"),
        *(
            (f"--fov-deg 60 --distance-m 1 --resolution {size}", f"--resolution is '{size}'", "x10")
            for size in ("1920", "1920x", "x1080", "1920x1080x3", "-1x10", "1e3x1e3")
        ),
        ("--fov-deg 60 --distance-m 1 --resolution 0x1080", "--resolution is 0", "16 to 100,000"),
        ("--camera none.yaml --distance-m 1", "none.yaml", "calibrate-camera"),
        (
            "--camera none.yaml --fov-deg 60 --distance-m 1",
            "--camera and --fov-deg both give a camera",
            "give one of them",
        ),
    ],
)
def test_bad_input_is_one_sentence(run: Run, words: str, problem: str, remedy: str) -> None:
    code, out, err = run(words)
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"edgecrack: .*{problem}.*; .*{remedy}.*\.\n", err), err


def test_a_camera_file_of_another_shape_is_refused(run: Run, camera: Path) -> None:
    code, _, err = run(f"--camera {camera} --resolution 1000x1000 --distance-m 1")
    assert code == 2
    assert "calibrated at 2000x1000" in err
