"""Files are written whole or not at all, and every failure says what to do."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.errors import OutputError
from edgecrack.files import output_error, replacing, write_atomic, write_png
from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[1]

FULL_DISK = """
import resource, sys
from edgecrack.errors import OutputError
from edgecrack.files import write_atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_atomic(sys.argv[1], b"x" * 100_000)
except OutputError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("data", "stored"),
    [
        (b"\x00\xff", b"\x00\xff"),
        ("größe\n", "größe\n".encode()),
        (b"", b""),
        ('"\udcff.mp4"', b'"\\udcff.mp4"'),  # a file name that is no text, and valid JSON
    ],
)
def test_content_is_stored_as_given(tmp_path: Path, data: bytes | str, stored: bytes) -> None:
    path = tmp_path / "result.json"
    write_atomic(path, "older and longer than what follows")
    write_atomic(str(path), data, durable=False)
    assert path.read_bytes() == stored
    assert names_in(tmp_path) == ["result.json"]


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    before = os.umask(0o022)
    try:
        write_atomic(path, "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_replacing_gives_a_sibling_with_the_same_suffix(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    with replacing(path) as partial:
        assert partial.parent == tmp_path
        assert partial.suffix == ".mp4"
        assert not partial.exists()
        partial.write_bytes(b"frames")
        assert not path.exists()
    assert path.read_bytes() == b"frames"
    assert names_in(tmp_path) == ["video.mp4"]


@pytest.mark.parametrize("failure", [RuntimeError("codec"), KeyboardInterrupt()])
def test_failure_keeps_the_older_file(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"older")

    def write_half() -> None:
        with replacing(path) as partial:
            partial.write_bytes(b"half")
            raise failure

    with pytest.raises(type(failure)):
        write_half()
    assert path.read_bytes() == b"older"
    assert names_in(tmp_path) == ["model.onnx"]


def test_a_writer_that_writes_nothing_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nothing was written"), replacing(tmp_path / "a.png"):
        pass


def test_an_error_about_another_file_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.txt"), replacing(tmp_path / "a.txt"):
        (tmp_path / "absent.txt").read_bytes()


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda folder: folder / "missing" / "a.txt", "create the folder"),
        (lambda folder: folder / "file.txt" / "a.txt", "parents are all folders"),
        (lambda folder: folder, "not of a folder"),
        (lambda folder: folder / ("n" * 300 + ".txt"), "shorter file name"),
        (lambda folder: Path("/dev/null"), "another path"),
    ],
)
def test_unwritable_places_name_the_remedy(
    tmp_path: Path, make: Callable[[Path], Path], remedy: str
) -> None:
    (tmp_path / "file.txt").write_text("a file")
    with pytest.raises(OutputError, match=remedy):
        write_atomic(make(tmp_path), b"data")
    assert names_in(tmp_path) == ["file.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="may write to"):
            write_atomic(tmp_path / "a.txt", b"data")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("number", ["ENOSPC", "EDQUOT", "EFBIG", "EACCES", "EROFS", "EIO"])
def test_every_disk_error_has_its_own_remedy(number: str) -> None:
    code = getattr(errno, number)
    error = output_error("/robot/out.png", OSError(code, os.strerror(code)))
    assert "/robot/out.png" in error.problem
    assert os.strerror(code) in error.problem
    assert error.remedy != output_error("x", OSError("unheard of")).remedy


def test_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """A file size limit makes the kernel refuse the write half-way, as a full disk does."""
    path = tmp_path / "big.bin"
    path.write_bytes(b"older")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == OutputError.exit_code, done.stderr
    assert str(path) in done.stdout
    assert "limit" in done.stdout
    assert path.read_bytes() == b"older"
    assert names_in(tmp_path) == ["big.bin"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_no_space_inside_the_block(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="free some space"),
        replacing(tmp_path / "a.bin"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"data")
    assert names_in(tmp_path) == []


def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "model.json"
    real.write_text("older")
    link = tmp_path / "latest.json"
    link.symlink_to(real)
    write_atomic(link, "newer")
    assert link.is_symlink()
    assert real.read_text() == "newer"


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_round_trip(
    tmp_path: Path, shape: tuple[int, ...], dtype: type[np.integer[Any]]
) -> None:
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    write_png(tmp_path / "a.png", image)
    read = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert read is not None
    assert np.array_equal(read, image)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.float32), np.zeros((0, 4), np.uint8), np.zeros((4, 4, 2), np.uint8)],
)
def test_png_refuses_what_is_no_image(tmp_path: Path, image: NDArray[Any]) -> None:
    with pytest.raises(OutputError, match="uint8 or uint16"):
        write_png(tmp_path / "a.png", image)
    assert names_in(tmp_path) == []
