from __future__ import annotations

import json
import math
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecrack.errors import ConfigError, OutputError
from edgecrack.runtime.outputs.output_folder import LEDGER_NAME, OutputFolder
from edgecrack.runtime.outputs.sinks import JsonlSink, Sink, frame_record, open_sinks
from tests.runtime.fakes import HW, Image, frame, picture, read_video, result_of
from tests.runtime.videos import pictures
from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[3]
ALL_KINDS = ["overlay", "mask", "prob", "jsonl"]


def run(sinks: Sequence[Sink], images: Sequence[Image]) -> None:
    for index, image in enumerate(images):
        for sink in sinks:
            sink.write(result_of(frame(index, image)))
    for sink in sinks:
        sink.close()


def read_gray(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert image.ndim == 2
    return np.asarray(image, np.uint8)


def files_in(folder: Path) -> set[str]:
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return found - {LEDGER_NAME}


def test_all_kinds_hold_what_was_found(tmp_path: Path) -> None:
    images = [picture(index) for index in range(5)]
    run(open_sinks(ALL_KINDS, tmp_path / "new" / "out", 20.0), images)
    out = tmp_path / "new" / "out"
    names = [f"{index:06d}" for index in range(5)]
    expected = {f"{kind}/{name}.png" for kind in ("masks", "prob") for name in names}
    assert files_in(out) == expected | {"overlay.mp4", "frames.jsonl"}
    records = [json.loads(line) for line in (out / "frames.jsonl").read_text().splitlines()]
    for index, record in enumerate(records):
        result = result_of(frame(index))
        mask = read_gray(out / "masks" / f"{record['name']}.png")
        prob = read_gray(out / "prob" / f"{record['name']}.png")
        assert np.array_equal(mask, result.mask)
        assert np.array_equal(prob, result.probability)
        assert record["crack_pixels"] == int((mask > 0).sum()) == 6 * (8 + 2 * index)
    video = read_video(out / "overlay.mp4")
    assert len(video) == 5
    assert video[0].shape == (*HW, 3)


def test_a_line_says_all_about_its_frame() -> None:
    assert frame_record(result_of(frame(3))) == {
        "schema_version": 3,
        "frame": 3,
        "name": "000003",
        "source": "test",
        "path": None,
        "captured_at": "2023-11-14T22:13:20.123456Z",
        "capture_time_ns": 1_700_000_000_123_456_792,
        "time_source": "unknown",
        "time_uncertainty_ms": None,
        "read_at": "2023-11-14T22:13:20.200000Z",
        "media_time_ms": 120.0,
        "width": 64,
        "height": 48,
        "crack_pixels": 84,
        "crack_ratio": round(84 / (64 * 48), 6),
        "boxes": [[4, 10, 18, 16, 84]],
        "lines": [[[6.5, 13.5], [14.5, 13.5]]],
        "latency_ms": 12.0,
        "inference_ms": 3.0,
        "threshold": 0.5,
        "inspected_ratio": 1.0,
        "ignored_ratio": 0.0,
        "photo": None,
        "position": None,
    }


@pytest.mark.parametrize("kinds", [["overlays"], ["mask", "png"], ["mask", "mask"]])
def test_a_wrong_kind_is_refused_before_anything_is_made(kinds: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_sinks(kinds, tmp_path / "out")
    assert "mask, prob" in str(caught.value) or "repeat" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_frame_of_another_size_starts_another_video(tmp_path: Path) -> None:
    sizes = [(48, 64), (48, 64), (101, 33), (1, 1), (48, 64)]
    run(
        open_sinks(["overlay"], tmp_path),
        [picture(0, hw) if hw != (1, 1) else np.zeros((1, 1, 3), np.uint8) for hw in sizes],
    )
    names = ["overlay.mp4", "overlay_2.mp4", "overlay_3.mp4", "overlay_4.mp4"]
    assert files_in(tmp_path) == set(names)
    shapes = [[image.shape[:2] for image in read_video(tmp_path / name)] for name in names]
    assert shapes == [[(48, 64)] * 2, [(102, 34)], [(16, 16)], [(48, 64)]]


def test_a_picture_that_does_not_change_is_no_full_disk(tmp_path: Path) -> None:
    still = np.full((16, 16, 3), 100, np.uint8)
    run(open_sinks(["overlay"], tmp_path), [still] * 900)
    assert len(read_video(tmp_path / "overlay.mp4")) == 900


def test_no_frames_make_no_video(tmp_path: Path) -> None:
    run(open_sinks(["overlay", "jsonl"], tmp_path), [])
    assert files_in(tmp_path) == {"frames.jsonl"}


@pytest.mark.parametrize(
    "name", ["masks/a.png", "overlay.mp4", "frames.jsonl", "summary.json", "overlay_2.mp4"]
)
def test_files_of_somebody_else_are_never_replaced(name: str, tmp_path: Path) -> None:
    run(open_sinks(ALL_KINDS, tmp_path), [picture()])
    (tmp_path / name).unlink(missing_ok=True)
    # Not on the list of what the run above made, as if it had been there before.
    lines = (tmp_path / LEDGER_NAME).read_text().splitlines()
    kept = [line for line in lines if json.loads(line) != name]
    (tmp_path / LEDGER_NAME).write_text("\n".join(kept) + "\n")
    (tmp_path / name).write_text("mine")
    before = files_in(tmp_path)
    with pytest.raises(OutputError, match=name.replace(".", r"\.")):
        open_sinks(ALL_KINDS, tmp_path)
    assert (tmp_path / name).read_text() == "mine"
    assert files_in(tmp_path) == before


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file"):
        open_sinks(["mask"], tmp_path / "file")
    with pytest.raises(OutputError, match="file"):
        open_sinks(["mask"], tmp_path / "file" / "out")
    (tmp_path / "masks").write_text("x")
    sink = open_sinks(["mask"], tmp_path)[0]
    with pytest.raises(OutputError, match="masks"):
        sink.write(result_of(frame()))


def test_a_disk_that_runs_full_leaves_a_playable_overlay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sink,) = open_sinks(["overlay"], tmp_path)
    for index in range(5):
        sink.write(result_of(frame(index)))
    full = shutil._ntuple_diskusage(100, 99, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(OutputError, match="too little"):
        sink.write(result_of(frame(5)))
    sink.close()
    assert len(read_video(tmp_path / "overlay.mp4")) == 5


@pytest.mark.parametrize("is_folder", [False, True])
def test_an_overlay_whose_name_was_taken_meanwhile_is_an_error(
    is_folder: bool, tmp_path: Path
) -> None:
    (sink,) = open_sinks(["overlay"], tmp_path)
    path = tmp_path / "overlay.mp4"
    if is_folder:
        path.mkdir()
    else:
        path.write_text("mine")
    with pytest.raises(OutputError, match=r"overlay\.mp4: File exists"):
        sink.write(result_of(frame()))
    sink.close()
    with pytest.raises(OutputError, match=r"overlay\.mp4, which no earlier run made"):
        open_sinks(["overlay"], tmp_path)
    assert is_folder or path.read_text() == "mine"


def limited(tmp_path: Path, kind: str, limit_bytes: int) -> str:
    """Run one sink until it fails, in a process that may write no file beyond a size."""
    script = f"""
import sys, resource
sys.path.insert(0, {str(REPOSITORY)!r})
import numpy as np
from pathlib import Path
from edgecrack.errors import OutputError
from edgecrack.runtime.outputs.sinks import open_sinks
from tests.runtime.fakes import frame, result_of
out = Path({str(tmp_path)!r})
(sink,) = open_sinks([{kind!r}], out)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes}))
rng = np.random.default_rng(0)
for index in range(100):
    try:
        image = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8) * (index >= 3)
        sink.write(result_of(frame(index, image)))
    except OutputError as error:
        print("write", index, error)
        break
try:
    sink.close()
except OutputError as error:
    print("close", error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


needs_limits = pytest.mark.skipif(
    not hasattr(resource, "RLIMIT_FSIZE"), reason="this system has no limit on file sizes"
)


@needs_limits
def test_a_log_that_cannot_grow_ends_with_a_whole_line(tmp_path: Path) -> None:
    said = limited(tmp_path, "jsonl", 3000)
    assert said.startswith("write")
    assert "frames.jsonl" in said
    text = (tmp_path / "frames.jsonl").read_text()
    assert text.endswith("\n") or text == ""
    assert [json.loads(line)["frame"] for line in text.splitlines()] == list(
        range(len(text.splitlines()))
    )


@needs_limits
def test_a_mask_that_cannot_be_written_leaves_the_earlier_ones(tmp_path: Path) -> None:
    said = limited(tmp_path, "mask", 600)
    assert said.startswith("write 3")
    assert "masks/000003.png" in said
    assert files_in(tmp_path) == {f"masks/00000{index}.png" for index in range(3)}
    assert all(read_gray(path).shape == (120, 160) for path in (tmp_path / "masks").iterdir())


@needs_limits
def test_a_video_that_cannot_grow_is_noticed_at_once(tmp_path: Path) -> None:
    said = limited(tmp_path, "overlay", 100_000)
    number = int(said.split()[1])
    assert said.startswith(f"write {number} cannot write")
    assert "overlay.mp4: File too large; raise the file size limit" in said
    assert said.count("\n") == 1  # closing has nothing to add
    assert len(pictures(tmp_path / "overlay.mp4")) == number - 1


def test_a_killed_process_leaves_whole_lines_and_masks(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from itertools import count
from pathlib import Path
from edgecrack.runtime.outputs.sinks import open_sinks
from tests.runtime.fakes import frame, result_of
sinks = open_sinks(["mask", "jsonl"], Path({str(tmp_path)!r}))
for index in count():
    for sink in sinks:
        sink.write(result_of(frame(index)))
    if index == 20:
        print("going", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"going\n"
        process.kill()
    text = (tmp_path / "frames.jsonl").read_text()
    assert text.endswith("\n")
    records = [json.loads(line) for line in text.splitlines()]
    assert len(records) > 20
    for record in records:
        mask = read_gray(tmp_path / "masks" / f"{record['name']}.png")
        assert int((mask > 0).sum()) == record["crack_pixels"]
    # What the killed run left is known, a torn file too.
    (tmp_path / "masks" / ".edgecrack-0123456789ab.png").write_bytes(b"torn")
    OutputFolder(tmp_path).clear()
    assert files_in(tmp_path) == set()


def test_a_log_is_strict_json(tmp_path: Path) -> None:
    sink = JsonlSink(OutputFolder(tmp_path))
    sink.write(result_of(frame(name='a "quoted"\n名')))
    with pytest.raises(ValueError, match="Out of range"):
        sink.write(result_of(frame(), latency_ms=math.nan))
    sink.close()
    sink.close()
    (line,) = (tmp_path / "frames.jsonl").read_bytes().splitlines()
    assert json.loads(line)["name"] == 'a "quoted"\n名'
