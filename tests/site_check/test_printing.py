"""The files of the check sheet: exact millimetres, vector, the same at all times."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from typer.testing import CliRunner

from edgecrack.cli import app
from edgecrack.errors import ConfigError, OutputError
from edgecrack.site_check.printing import write_sheet
from edgecrack.site_check.sheet import PAGE_MM, check_sheet

MM_PER_POINT = 25.4 / 72
NUMBER = rb"-?[\d.]+"


def boxes_mm(pdf: bytes) -> list[tuple[float, float, float, float]]:
    """Left, top, width and height of each path that is filled in an uncompressed PDF."""
    page_mm = PAGE_MM[1]
    found = []
    for path in re.split(rb"\n(?:f|B|b|S|s|n)\*?\n", pdf):
        points = re.findall(rb"(%b) (%b) [ml]\n" % (NUMBER, NUMBER), path)
        if not points:
            continue
        places = np.array(points, dtype=np.float64) * MM_PER_POINT
        left, lower = places.min(axis=0)
        width, height = np.ptp(places, axis=0)
        found.append((left, page_mm - lower - height, width, height))
    return found


@pytest.fixture(scope="module")
def plain_pdf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sheet") / "target.pdf"
    with matplotlib.rc_context({"pdf.compression": 0}):
        write_sheet(path)
    return path.read_bytes()


def test_the_page_is_exactly_a4(plain_pdf: bytes) -> None:
    boxes = re.findall(rb"/MediaBox \[ *(%b) (%b) (%b) (%b) *\]" % ((NUMBER,) * 4), plain_pdf)
    assert len(boxes) == 1
    sides = np.array(boxes[0], dtype=np.float64) * MM_PER_POINT
    assert sides == pytest.approx([0, 0, *PAGE_MM], abs=1e-4)


def test_bar_markers_and_cracks_have_their_size_and_place(plain_pdf: bytes) -> None:
    sheet = check_sheet()
    drawn = np.array(boxes_mm(plain_pdf))
    rings = [*sheet.lines, *(crack.outline for crack in sheet.cracks)]
    rings += [marker.corners for marker in sheet.markers]
    for ring in rings:
        wanted = [*ring.min(axis=0), *np.ptp(ring, axis=0)]
        assert np.abs(drawn - wanted).max(axis=1).min() < 1e-3


def test_it_is_drawn_by_lines_and_asks_not_to_be_scaled(plain_pdf: bytes) -> None:
    assert b"/Subtype /Image" not in plain_pdf
    assert plain_pdf.count(b"/PrintScaling /None") == 1


def test_the_update_at_the_end_is_where_the_file_says(plain_pdf: bytes) -> None:
    starts = [int(each) for each in re.findall(rb"startxref\s+(\d+)", plain_pdf)]
    assert len(starts) == 2
    assert all(plain_pdf[start:].startswith(b"xref\n") for start in starts)
    assert f"/Prev {starts[0]} ".encode() in plain_pdf[starts[1] :]
    table = re.match(rb"xref\n0 1\n.{20}(\d+) 1\n(\d{10}) 00000 n \n", plain_pdf[starts[1] :], re.S)
    assert table is not None
    at = int(table[2])
    assert plain_pdf[at:].startswith(table[1] + b" 0 obj\n<<")
    assert b"/Type /Catalog" in plain_pdf[at : at + 100]


def test_it_is_the_same_at_all_times(tmp_path: Path) -> None:
    first, second = tmp_path / "first.pdf", tmp_path / "second.pdf"
    write_sheet(first)
    write_sheet(second)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 600_000


def test_a_png_has_the_pixels_that_dpi_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "target.png"
    write_sheet(path, dpi=100)
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    assert image.shape == (1169, 826)
    row = image[round(155.5 / 25.4 * 100), round(45 / 25.4 * 100) : round(165 / 25.4 * 100)]
    assert np.count_nonzero(row < 128) == pytest.approx(100 / 25.4 * 100, abs=1)


@pytest.mark.parametrize(
    ("name", "dpi", "problem"),
    [("target.svg", 300, "target.svg"), ("target", 300, "target"), ("target.png", 20, "dpi is 20")],
)
def test_what_it_refuses(tmp_path: Path, name: str, dpi: int, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        write_sheet(tmp_path / name, dpi)


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_sheet(tmp_path / "missing" / "target.pdf")


def test_the_command_makes_the_folder_and_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "new" / "target.pdf"
    done = CliRunner().invoke(app, ["target", "-o", str(path)])
    assert done.exit_code == 0, done.output
    assert path.read_bytes().startswith(b"%PDF")
    assert "100 %" in done.output
