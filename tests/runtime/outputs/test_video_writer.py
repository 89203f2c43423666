from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from edgecrack.errors import OutputError
from edgecrack.runtime.outputs.video_writer import ENCODERS, Encoder, VideoWriter
from tests.runtime.fakes import Image
from tests.runtime.videos import complaints, pictures, probe
from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[3]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HW = (120, 160)
STEP_NS = 100_000_000
RED = (40, 60, 255)
VP9_ONLY = ENCODERS[-1:]


def bar(number: int, hw: tuple[int, int] = HW) -> Image:
    """Dark gray with a red bar from the left that is 2 px longer in each picture."""
    image = np.full((*hw, 3), 40, np.uint8)
    image[:, : 2 * (number + 1)] = RED
    return image


def noise(number: int, hw: tuple[int, int] = HW) -> Image:
    return np.random.default_rng(number).integers(0, 256, (*hw, 3), dtype=np.uint8)


def write(
    path: Path, count: int, picture: Any = bar, encoders: tuple[Encoder, ...] = ENCODERS
) -> None:
    writer = VideoWriter(path, HW, 10.0, encoders)
    for number in range(count):
        writer.append(picture(number), number * STEP_NS)
    writer.close()


@pytest.mark.parametrize(
    ("encoders", "codec", "profile"), [(ENCODERS, "h264", "Main"), (VP9_ONLY, "vp9", "Profile 0")]
)
def test_another_ffmpeg_reads_what_was_written(
    encoders: tuple[Encoder, ...], codec: str, profile: str, tmp_path: Path
) -> None:
    if codec == "h264" and "libx264" not in av.codecs_available:
        pytest.skip("this PyAV has no x264")
    path = tmp_path / "a.mp4"
    write(path, 45, encoders=encoders)
    video = probe(path)
    assert (video.stream["codec_name"], video.stream["profile"]) == (codec, profile)
    assert (video.stream["width"], video.stream["height"]) == (160, 120)
    assert video.stream["pix_fmt"] == "yuv420p"
    assert video.stream["color_range"] == "tv"
    for name in ("color_space", "color_transfer", "color_primaries"):
        assert video.stream[name] == "bt709"
    assert video.frames == int(video.stream["nb_frames"]) == 45
    assert video.stream["avg_frame_rate"] == "10/1"
    assert video.times_s == pytest.approx([number / 10 for number in range(45)])
    assert video.key_times_s == pytest.approx([0, 2, 4])
    assert video.duration_s == pytest.approx(4.5)
    assert complaints(path) == ""


@pytest.mark.parametrize("encoders", [ENCODERS, VP9_ONLY])
def test_colours_and_thin_lines_come_back(encoders: tuple[Encoder, ...], tmp_path: Path) -> None:
    image = cv2.GaussianBlur(noise(0, (240, 320)), (0, 0), 3)
    image[100:140, 40:80] = RED
    for row in range(20, 90, 10):
        cv2.line(image, (10, row), (310, row + 7), (15, 15, 15), 1)
    path = tmp_path / "a.mp4"
    writer = VideoWriter(path, (240, 320), 10.0, encoders)
    for number in range(3):
        writer.append(np.asarray(image, np.uint8), number * STEP_NS)
    writer.close()
    shown = pictures(path)[-1]
    assert np.abs(shown[105:135, 45:75].astype(int) - RED).max() < 12
    dark = cv2.cvtColor(np.asarray(image, np.uint8), cv2.COLOR_BGR2GRAY) < 30
    assert cv2.cvtColor(shown, cv2.COLOR_BGR2GRAY)[dark].mean() < 45  # 15 in, beside 128
    assert cv2.PSNR(np.asarray(image, np.uint8), shown) > 30


def test_each_picture_keeps_its_own_time(tmp_path: Path) -> None:
    times_ms = [0.0, 40.0, 80.0, 1000.0, 1001.0, 1000.0, 9000.0, 9033.3667]
    path = tmp_path / "a.mp4"
    writer = VideoWriter(path, HW, 25.0)
    for number, time_ms in enumerate(times_ms):
        writer.append(bar(number), round(time_ms * 1e6))
    writer.close()
    video = probe(path)
    expected_s = [0, 0.04, 0.08, 1, 1.001, 1.001 + 1 / 90_000, 9, 9.0333667]
    assert video.times_s == pytest.approx(expected_s, abs=1 / 90_000)
    assert all(before < after for before, after in pairwise(video.times_s))
    assert video.duration_s == pytest.approx(9.0333667 + 0.04, abs=0.001)


@pytest.mark.parametrize("rate_hz", [0.5, 23.976, 29.97, 66.123, 239.813, 1000.0])
def test_any_rate(rate_hz: float, tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", HW, rate_hz)
    for number in range(30):
        writer.append(bar(number), round(number * 1e9 / rate_hz))
    writer.close()
    assert probe(tmp_path / "a.mp4").duration_s == pytest.approx(30 / rate_hz, abs=0.002)


class Writes:
    """Every write to the disk, so that the file can be seen as it was at any moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[int, bytes]] = []
        pwrite = os.pwrite

        def remember(descriptor: int, data: bytes, place: int) -> int:
            self.made.append((place, bytes(data)))
            return pwrite(descriptor, data, place)

        monkeypatch.setattr(os, "pwrite", remember)

    def until(self, number: int, part: float = 1.0) -> bytes:
        """The file when a write was done, or a part of it."""
        content = bytearray()
        for index, (place, data) in enumerate(self.made[: number + 1]):
            piece = data[: int(len(data) * part)] if index == number else data
            content += bytes(max(0, place + len(piece) - len(content)))
            content[place : place + len(piece)] = piece
        return bytes(content)


@pytest.mark.parametrize("encoders", [ENCODERS, VP9_ONLY])
def test_the_file_plays_at_every_moment(
    encoders: tuple[Encoder, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = Writes(monkeypatch)
    write(tmp_path / "a.mp4", 6, noise, encoders)
    whole = [data[4:8] == b"moof" for _, data in writes.made]
    assert sum(whole) == 6  # a fragment for each picture, in one piece
    assert whole[-2:] == [False, False]  # the index, and the header that names it
    path = tmp_path / "moment.mp4"
    for number in range(whole.index(True), len(whole)):
        path.write_bytes(writes.until(number))
        assert complaints(path) == ""
        assert probe(path).frames == sum(whole[: number + 1])
        if sum(whole[:number]) > 0:
            path.write_bytes(writes.until(number, part=0.7))  # killed within a write
            assert probe(path).frames >= sum(whole[:number])


@pytest.mark.parametrize("encoders", ["ENCODERS", "ENCODERS[-1:]"])
def test_a_killed_process_leaves_all_but_the_last_pictures(encoders: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    script = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from itertools import count
from pathlib import Path
from edgecrack.runtime.outputs.video_writer import ENCODERS, VideoWriter
from tests.runtime.outputs.test_video_writer import HW, STEP_NS, bar
writer = VideoWriter(Path({str(path)!r}), HW, 10.0, {encoders})
for number in count():
    writer.append(bar(number % 60), number * STEP_NS)
    print(number, flush=True)
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 50:
            pass
        process.kill()
        said = [int(line) for line in process.stdout.read().splitlines() if line]
    written = max(said, default=50) + 1
    video = probe(path)
    assert video.frames >= written - 1
    assert video.duration_s >= (written - 1) * 0.1 - 0.001


@pytest.mark.parametrize("encoders", [ENCODERS, VP9_ONLY])
def test_a_browser_plays_it(encoders: tuple[Encoder, ...], tmp_path: Path) -> None:
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    writer = VideoWriter(tmp_path / "whole.mp4", HW, 10.0, encoders)
    for number in range(60):
        writer.append(bar(number), number * STEP_NS)
        if number == 40:
            shutil.copyfile(tmp_path / "whole.mp4", tmp_path / "killed.mp4")
    writer.close()
    with driver.sync_playwright() as started:
        # Pages of files may look at files.
        arguments = ["--no-sandbox", "--allow-file-access-from-files"]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            whole = watch(browser, tmp_path / "whole.mp4", 3.05)
            killed = watch(browser, tmp_path / "killed.mp4", 3.05)
        finally:
            browser.close()
    assert (whole["width"], whole["height"], killed["width"]) == (160, 120, 160)
    assert whole["duration"] == pytest.approx(6.0)
    assert killed["duration"] == pytest.approx(4.0)
    for seen in (whole, killed):
        assert seen["bar"] == pytest.approx(62, abs=2)  # the 31st picture
        assert np.abs(np.array(seen["colour"]) - RED[::-1]).max() < 12
        assert seen["ended"]


WATCH = """async time_s => {
  const video = document.querySelector("video");
  const when = name => new Promise((done, fail) => {
    video.addEventListener(name, done, { once: true });
    video.addEventListener("error", () => fail(video.error.message), { once: true });
  });
  if (video.readyState < 2) await when("loadeddata");
  const shown = new Promise(done => video.requestVideoFrameCallback(done));
  const arrived = when("seeked");
  video.currentTime = time_s;
  await arrived;
  await shown;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  const row = context.getImageData(0, 60, canvas.width, 1).data;
  let bar = 0;
  for (let x = 0; x < canvas.width; x++) bar += row[4 * x] > 150;
  const ended = when("ended");
  video.playbackRate = 4;
  video.muted = true;
  await video.play();
  await ended;
  return {
    width: video.videoWidth, height: video.videoHeight, duration: video.duration,
    bar, colour: [...row.slice(40, 43)], ended: video.ended,
  };
}"""


def watch(browser: Any, path: Path, time_s: float) -> dict[str, Any]:
    """Open a video in a page, jump to a time, look at the picture, and play to the end."""
    page = path.with_suffix(".html")
    page.write_text(f'<video preload="auto" src="{path.name}"></video>')
    tab = browser.new_page()
    tab.set_default_timeout(PATIENCE_S * 1000)
    tab.goto(page.as_uri())
    seen: dict[str, Any] = tab.evaluate(WATCH, time_s)
    tab.close()
    return seen


def fill_up(monkeypatch: pytest.MonkeyPatch, room_bytes: int, number: int) -> None:
    """A disk with so much room left: what fits is written, and then nothing."""
    pwrite = os.pwrite
    left = [room_bytes]

    def refuse(descriptor: int, data: bytes, place: int) -> int:
        if left[0] == 0:
            raise OSError(number, os.strerror(number))
        written = pwrite(descriptor, data[: left[0]], place)
        left[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", refuse)


def open_files(folder: Path) -> list[str]:
    """The files in a folder that this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(link.readlink()))
    return [name for name in found if name.startswith(str(folder))]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("room_bytes", [1000, 60_000, 100_000])
def test_a_write_that_fails_is_an_error_and_leaves_whole_pictures(
    number: int, room_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp4"
    writer = VideoWriter(path, HW, 10.0)
    fill_up(monkeypatch, room_bytes, number)
    failures = []
    for index in range(10):
        try:
            writer.append(noise(index), index * STEP_NS)
        except OutputError as error:
            failures.append(error)
    writer.close()
    writer.close()
    assert len(failures) == 10 - writer.frames > 1
    for failure in failures:
        assert str(path) in failure.problem
        assert os.strerror(number) in failure.problem
    # A picture is written when the next one comes.
    assert len(pictures(path)) == max(0, writer.frames - 1)
    assert path.stat().st_size <= room_bytes + 100
    assert not open_files(tmp_path)


def test_a_disk_without_room_for_the_header_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_up(monkeypatch, 50, errno.ENOSPC)
    with pytest.raises(OutputError, match="free some space"):
        VideoWriter(tmp_path / "a.mp4", HW, 10.0)
    assert not list(tmp_path.iterdir())
    assert not open_files(tmp_path)


def test_an_index_that_cannot_be_written_is_an_error_and_the_pictures_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp4"
    writer = VideoWriter(path, HW, 10.0)
    for number in range(5):
        writer.append(noise(number), number * STEP_NS)
    fill_up(monkeypatch, 0, errno.ENOSPC)
    with pytest.raises(OutputError, match="free some space"):
        writer.close()
    writer.close()
    monkeypatch.undo()
    assert len(pictures(path)) == 4


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_that_is_removed_meanwhile_is_an_error(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    writer = VideoWriter(folder / "a.mp4", HW, 10.0)
    writer.append(bar(0), 0)
    if what == "file":
        (folder / "a.mp4").unlink()
    else:
        shutil.rmtree(folder)
    with pytest.raises(OutputError, match="removed"):
        writer.append(bar(1), STEP_NS)
    writer.close()


def test_a_file_that_is_moved_meanwhile_is_finished_where_it_is(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", HW, 10.0)
    writer.append(bar(0), 0)
    (tmp_path / "a.mp4").rename(tmp_path / "b.mp4")
    writer.append(bar(1), STEP_NS)
    writer.close()
    assert len(pictures(tmp_path / "b.mp4")) == 2


@pytest.mark.parametrize(
    "folder",
    ["a:b", "pipe:1", "100%d", "%03d", "#x", "two words", "line\nbreak", "стена", "a'b\"c", "-y"],
)
@pytest.mark.parametrize("relative", [False, True])
def test_any_name_will_do(
    folder: str, relative: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / folder).mkdir()
    write((Path() if relative else tmp_path) / folder / "overlay.mp4", 3)
    assert [path.name for path in (tmp_path / folder).iterdir()] == ["overlay.mp4"]
    assert len(pictures(tmp_path / folder / "overlay.mp4")) == 3


def test_a_name_that_is_no_text_will_do(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.mp4")
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system holds names that are text only")
    path.unlink()
    write(path, 3)
    path.rename(tmp_path / "a.mp4")
    assert len(pictures(tmp_path / "a.mp4")) == 3


@pytest.mark.parametrize("taken_by", ["file", "folder", "link"])
def test_nothing_is_overwritten(taken_by: str, tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "a.mp4", tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    if taken_by == "file":
        path.write_text("mine")
    elif taken_by == "folder":
        path.mkdir()
    else:
        path.symlink_to(elsewhere)
    with pytest.raises(OutputError, match="exists"):
        VideoWriter(path, HW, 10.0)
    assert elsewhere.read_text() == "mine"
    assert path.exists()


def test_the_first_encoder_that_works_is_taken(tmp_path: Path) -> None:
    broken = Encoder("libvpx-vp9", {"cpu-used": "99"})
    encoders = [Encoder("no_such_encoder", {}), broken, *VP9_ONLY]
    writer = VideoWriter(tmp_path / "a.mp4", HW, 10.0, encoders)
    assert writer.encoder_name == "libvpx-vp9"
    writer.append(bar(0), 0)
    writer.close()
    assert len(pictures(tmp_path / "a.mp4")) == 1


@pytest.mark.parametrize("hw", [(32, 70_000), (70_000, 32)])
def test_pictures_that_no_encoder_takes_are_an_error(hw: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=f"{hw[1]} x {hw[0]} pixels") as caught:
        VideoWriter(tmp_path / "a.mp4", hw, 10.0)
    assert "smaller frames" in caught.value.remedy
    assert not list(tmp_path.iterdir())
    assert not open_files(tmp_path)


def test_a_closed_video_takes_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 2)
    writer = VideoWriter(tmp_path / "b.mp4", HW, 10.0)
    writer.append(bar(0), 0)
    writer.close()
    writer.close()
    with pytest.raises(OutputError, match="closed"):
        writer.append(bar(1), STEP_NS)
