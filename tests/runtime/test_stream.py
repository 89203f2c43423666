"""`edgecrack stream` from end to end, as a process of its own, and its parts."""

from __future__ import annotations

import io
import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from edgecrack.errors import ConfigError, OutputError
from edgecrack.runtime.stream import (
    StreamConfig,
    describe,
    leave_cores_to_the_network,
    progress_text,
    run_stream,
)
from edgecrack.runtime.telemetry.stats import StatsSnapshot, StreamSummary
from edgecrack.terminal.progress import ProgressLine
from edgecrack.terminal.signals import stop_on_signals
from tests.runtime.fakes import picture, read_video
from tests.runtime.models import write_quick_model
from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[2]
ENDLESS = "demo?frames=100000"

# A robot: what is blocked cannot be imported, and what else was loaded is told at the end.
ROBOT = """
import sys
blocked = {"torch", "lightning", "safetensors", "matplotlib", "scipy", "onnx", "tensorrt"}
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from edgecrack.cli import main
try:
    main()
finally:
    assert not blocked & set(sys.modules), blocked & set(sys.modules)
"""


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "COLUMNS": "80"}


def command(arguments: Sequence[str | Path]) -> list[str]:
    return [sys.executable, "-m", "edgecrack", "stream", "--threads", "1", *map(str, arguments)]


def stream(
    *arguments: str | Path, start: Sequence[str] = (), **options: Any
) -> subprocess.CompletedProcess[str]:
    words = [*start, *map(str, arguments)] if start else command(arguments)
    return subprocess.run(
        words,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        **options,
    )


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "frames.jsonl").read_text().splitlines()]


def check_results(folder: Path, frames: int) -> None:
    """All four kinds of result are there, whole, for each frame, and nothing else is."""
    assert [record["frame"] for record in records(folder)] == list(range(frames))
    assert len(read_video(folder / "overlay.mp4")) == frames
    assert sorted(path.name for path in (folder / "masks").iterdir()) == [
        f"{number:06d}.png" for number in range(frames)
    ]
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert names == {
        "events.jsonl", "findings.jsonl", "frames.jsonl", "masks", "overlay.mp4", "summary.json",
    }  # fmt: skip
    assert not [path for path in folder.rglob(".*") if path.name != ".edgecrack-files"]


@pytest.mark.parametrize(
    "start",
    [
        pytest.param([sys.executable, "-m", "edgecrack"], id="as it is installed here"),
        pytest.param([sys.executable, "-c", ROBOT], id="on a robot without PyTorch"),
    ],
)
def test_three_frames_of_the_demo(tmp_path: Path, start: list[str]) -> None:
    out = tmp_path / "out"
    arguments = ["stream", "--source", "demo", "--max-frames", "3", "--json", "--out", str(out)]
    done = stream(*arguments, start=start)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)  # one object and nothing else
    assert done.stdout.count("\n") == 1
    assert (summary["end_reason"], summary["frames"], summary["error"]) == ("max frames", 3, None)
    assert summary == json.loads((out / "summary.json").read_text())
    assert summary["frames_with_cracks"] > 0  # the bundled model finds the demo's cracks
    check_results(out, 3)
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_quick_model(tmp_path_factory.mktemp("model") / "quick.onnx")


@contextmanager
def endless(
    out: Path, model: Path, *arguments: str, terminal: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A stream that runs until it is told to stop, past its second frame.

    Args:
        out: folder of its results.
        model: what it streams with.
        arguments: more of them.
        terminal: file descriptor of a terminal that is to be its own; None for none, as a service.
    """
    words = command(["--source", ENDLESS, "--model", model, "--json", "--out", out, *arguments])
    with subprocess.Popen(
        words if terminal is None else ["setsid", "--ctty", *words],
        env=environment(),
        stdin=terminal,
        start_new_session=terminal is None,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for_frames(process, out, 2)
            yield process
        finally:
            process.kill()


def wait_for_frames(process: subprocess.Popen[str], out: Path, count: int) -> None:
    """Wait until a stream has written results of so many frames."""
    deadline_s = time.monotonic() + PATIENCE_S
    log = out / "frames.jsonl"
    while not (log.exists() and log.read_text().count("\n") >= count):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.fixture
def terminal() -> Iterator[int]:
    """A file descriptor of a terminal, without which a hang-up does nothing."""
    controlling, own = pty.openpty()
    yield own
    os.close(own)
    os.close(controlling)


@pytest.fixture
def hang_up_counts() -> Iterator[None]:
    """Tests may run under nohup, which lets every process below it ignore a hang-up."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hang_up_counts")
@pytest.mark.skipif(not shutil.which("setsid"), reason="no setsid, which gives a terminal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_stream_cleanly(
    tmp_path: Path, model: Path, number: signal.Signals, terminal: int
) -> None:
    with endless(tmp_path / "out", model, terminal=terminal) as process:
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    summary = json.loads(output)
    assert summary["end_reason"] == "stopped"
    assert summary["error"] is None
    assert summary["frames"] >= 2
    assert "Traceback" not in errors
    check_results(tmp_path / "out", summary["frames"])


@pytest.mark.usefixtures("hang_up_counts")
def test_signals_that_mean_nothing_to_a_service_leave_it_running(
    tmp_path: Path, model: Path
) -> None:
    out = tmp_path / "out"
    with endless(out, model) as process:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            process.send_signal(number)
        written = (out / "frames.jsonl").read_text().count("\n")
        wait_for_frames(process, out, written + 2)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert json.loads(output)["end_reason"] == "stopped"


@pytest.fixture(scope="module")
def killed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a stream leaves that is killed after some frames."""
    out = tmp_path_factory.mktemp("killed") / "bridge"
    with endless(out, model, "--save", "mask,jsonl") as process:
        process.kill()
        process.communicate(timeout=PATIENCE_S)
    return out


class TestSecondRun:
    """A run into the folder of an earlier one, which was killed."""

    @pytest.fixture
    def earlier(self, killed: Path, tmp_path: Path) -> Path:
        copied = Path(shutil.copytree(killed, tmp_path / "bridge"))
        (copied / "snapshots").mkdir()
        (copied / "snapshots" / "kept.png").write_bytes(b"kept")
        return copied

    def run(self, model: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
        words: list[str | Path] = ["--source", ENDLESS, "--model", model, "--max-frames", "1"]
        done = stream(*words, "--save", "mask,jsonl", "--out", out, *more)
        assert done.returncode == 0, done.stderr
        return done

    def test_it_goes_beside(self, model: Path, earlier: Path) -> None:
        before = {path: path.read_bytes() for path in earlier.rglob("*") if path.is_file()}
        assert len(records(earlier)) >= 2  # whole lines
        done = self.run(model, earlier)
        assert {path: path.read_bytes() for path in before} == before
        beside = earlier.with_name("bridge-2")
        assert f"those of this run go to {beside}" in done.stderr
        assert done.stdout.splitlines()[-1] == f"results: {beside}"
        assert len(records(beside)) == 1
        run = json.loads((beside / "summary.json").read_text())["run"]
        assert (run["folder"], run["requested_folder"]) == (str(beside), str(earlier))
        assert not (earlier / "summary.json").exists()

    def test_overwriting_is_asked_for(self, model: Path, earlier: Path) -> None:
        (earlier / "notes.txt").write_text("mine")
        done = self.run(model, earlier, "--overwrite")
        assert done.stdout.splitlines()[-1] == f"results: {earlier}"
        assert len(records(earlier)) == 1
        assert [path.name for path in (earlier / "masks").iterdir()] == ["000000.png"]
        assert (earlier / "notes.txt").read_text() == "mine"
        assert (earlier / "snapshots" / "kept.png").read_bytes() == b"kept"
        assert [path.name for path in earlier.parent.iterdir()] == ["bridge"]

    def test_it_goes_on_with_the_run(self, model: Path, earlier: Path) -> None:
        before = {path: path.read_bytes() for path in earlier.rglob("*.png")}
        frames = len(records(earlier))
        done = self.run(model, earlier, "--continue")
        assert done.stdout.splitlines()[-1] == f"results: {earlier / 'part-2'}"
        assert {path: path.read_bytes() for path in before} == before
        assert len(records(earlier)) == frames
        assert len(records(earlier / "part-2")) == 1
        assert [path.name for path in (earlier / "part-2" / "masks").iterdir()] == ["000000.png"]
        summary = json.loads((earlier / "summary.json").read_text())
        assert [part["end_reason"] for part in summary["parts"]] == ["killed", "max frames"]
        assert [part["frames"] for part in summary["parts"]] == [frames, 1]
        assert summary["frames"] == frames + 1
        assert summary["run"]["id"] in done.stdout
        # Which made it complete: what comes now is another run.
        done = self.run(model, earlier, "--continue")
        assert f"is complete (max frames); a new one begins in {earlier}-2" in done.stderr
        assert len(records(earlier.with_name("bridge-2"))) == 1

    def test_a_run_with_another_threshold_is_another_run(self, model: Path, earlier: Path) -> None:
        done = self.run(model, earlier, "--continue", "--threshold", "0.3")
        assert "had other settings (threshold); a new one begins" in done.stderr
        assert not (earlier / "part-2").exists()
        assert len(records(earlier.with_name("bridge-2"))) == 1


def test_two_streams_that_start_at_once_have_folders_of_their_own(
    tmp_path: Path, model: Path
) -> None:
    words: list[str | Path] = ["--source", "demo", "--model", model, "--max-frames", "2"]
    words += ["--save", "jsonl"]
    processes = [
        subprocess.Popen(
            command([*words, "--out", tmp_path / "bridge"]),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=PATIENCE_S) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    folders = {output.splitlines()[-1] for output, _ in said}
    assert folders == {f"results: {tmp_path / name}" for name in ("bridge", "bridge-2")}
    for name in ("bridge", "bridge-2"):
        assert [record["frame"] for record in records(tmp_path / name)] == [0, 1]


def full_disk_error(done: subprocess.CompletedProcess[str], out: Path) -> None:
    assert done.returncode == 6
    assert done.stdout == ""
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("edgecrack: ")
    assert str(out) in sentence
    assert "Traceback" not in done.stderr


def test_a_limit_on_file_sizes_ends_with_whole_lines_and_exit_code_6(
    tmp_path: Path, model: Path
) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

    out = tmp_path / "out"
    words: list[str | Path] = [
        "--source",
        ENDLESS,
        "--model",
        model,
        "--save",
        "jsonl",
        "--out",
        out,
    ]
    done = stream(*words, preexec_fn=limit)
    full_disk_error(done, out)
    assert "ulimit" in done.stderr
    assert 1 <= len(records(out)) < 10
    summary = json.loads((out / "summary.json").read_text())
    assert summary["end_reason"] == "failed"
    assert "frames.jsonl" in summary["error"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 36 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=36k", "edgecrack-test", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_what_was_written(small_disk: Path, model: Path) -> None:
    out = small_disk / "out"
    words: list[str | Path] = [
        "--source",
        ENDLESS,
        "--model",
        model,
        "--save",
        "mask,jsonl",
        "--out",
        out,
    ]
    done = stream(*words)
    full_disk_error(done, out)
    assert "free some space" in done.stderr
    masks = sorted((out / "masks").glob("*.png"))
    assert len(masks) >= 3
    for number, record in enumerate(records(out)):
        assert record["frame"] == number
    # The frame at which the disk was full may have a mask and no line, never half of one.
    assert len(masks) - len(records(out)) in (0, 1)


def test_a_disk_too_small_for_a_video_says_so_at_once(small_disk: Path, model: Path) -> None:
    words: list[str | Path] = ["--source", "demo", "--model", model, "--save", "overlay"]
    done = stream(*words, "--out", small_disk / "out")
    full_disk_error(done, small_disk)
    assert "overlay" in done.stderr


class TestConfig:
    @pytest.mark.parametrize(
        ("save", "named"),
        [
            ((), "''"),
            (("none", "mask"), "none,mask"),
            (("video",), "video"),
            (("mask",) * 2, "once"),
        ],
    )
    def test_outputs_that_make_no_sense(self, save: tuple[str, ...], named: str) -> None:
        with pytest.raises(ConfigError, match=named):
            StreamConfig("demo", Path("out"), save=save)

    @pytest.mark.parametrize("frames", [0, -3])
    def test_no_frames_at_all(self, frames: int) -> None:
        with pytest.raises(ConfigError, match=str(frames)):
            StreamConfig("demo", Path("out"), max_frames=frames)


def snapshot(frames: int = 120, elapsed_s: float = 10.0) -> StatsSnapshot:
    return StatsSnapshot(
        frames=frames,
        fps=12.5,
        fps_overall=12.0,
        latency_p50_ms=81.4,
        latency_p95_ms=120.9,
        inference_p50_ms=60.0,
        crack_pixels=6135,
        crack_pixels_total=70000,
        frames_with_cracks=7,
        drops=3,
        elapsed_s=elapsed_s,
    )


def test_the_progress_line_says_what_matters_and_fits_eighty_columns() -> None:
    text = progress_text(snapshot(123456))
    for part in ("123456 frames", "12.5/s", "81 ms", "121", "6135 px", "3 dropped"):
        assert part in text
    assert len(text) < 80


SUMMARY = StreamSummary(
    source="a.mp4",
    model="m.onnx",
    threshold=0.5,
    min_area_px=24,
    started_at="2024-01-01T00:00:00+00:00",
    ended_at="2024-01-01T00:00:10+00:00",
    end_reason="end of source",
    error=None,
    frames_read=40,
    frames_expected=100,
    truncated=True,
    stats=snapshot(),
)


def test_the_last_words_name_a_recording_that_was_cut_short() -> None:
    text = describe(SUMMARY, Path("runs/x"))
    assert "120 frames" in text
    assert "7 with cracks" in text
    assert "3 dropped" in text
    assert "40 of 100 frames" in text
    assert "runs/x" in text


@pytest.mark.parametrize("shedding", ["the overlap of tiles", "2 of 3 tiles"])
def test_the_progress_line_says_what_is_left_out(shedding: str) -> None:
    text = progress_text(replace(snapshot(), shedding=shedding))
    assert text.endswith(f" | too slow, leaves out {shedding}")


def test_a_machine_that_throttles_is_told_meanwhile_and_at_the_end() -> None:
    hot = replace(snapshot(), throttling="throttled", throttle_episodes=2, throttled_s=84.2)
    assert progress_text(hot).endswith(" | machine throttled")
    assert "throttled" not in progress_text(replace(hot, throttling="not throttled"))
    stats = replace(hot, throttled_frames=177, throttled_fps=2.1)
    text = describe(replace(SUMMARY, stats=stats), Path("runs/x"))
    assert "the machine was throttled 2 times, for 84 s in all, at 2.1 frames/s" in text
    assert "throttled" not in describe(SUMMARY, Path("runs/x"))


def test_one_of_a_thing_is_no_plural() -> None:
    stats = replace(snapshot(1), reconnects=1, stalls=2, size_changes=1, open_failures=1)
    text = describe(replace(SUMMARY, stats=stats), Path("runs/x"))
    assert text.startswith("1 frame at ")
    assert "1 reconnect, 2 stalls, 1 failed attempt to open, 1 change of size" in text
    assert progress_text(stats).startswith("1 frame | ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestProgressLine:
    def test_a_terminal_has_one_line_that_is_rewritten(self) -> None:
        output = Terminal()
        line = ProgressLine(output)
        for number in range(3):
            line.show(f"frame {number}")
        line.end()
        line.end()
        assert output.getvalue().count("\n") == 1
        assert output.getvalue().split("\r\x1b[2K")[1:] == ["frame 0", "frame 1", "frame 2\n"]

    def test_a_line_is_cut_to_the_terminal(self) -> None:
        output = Terminal()
        ProgressLine(output).show("x" * 500)
        assert len(output.getvalue().removeprefix("\r\x1b[2K")) == 79

    def test_elsewhere_a_plain_line_now_and_then(self) -> None:
        output, now_s = io.StringIO(), [0.0]
        line = ProgressLine(output, interval_s=5.0, clock=lambda: now_s[0])
        for number in range(23):
            now_s[0] = float(number)
            line.show(f"frame {number}")
        line.end()
        assert output.getvalue() == "frame 0\nframe 5\nframe 10\nframe 15\nframe 20\n"

    def test_nothing_is_left_open_where_nothing_was_shown(self) -> None:
        output = Terminal()
        ProgressLine(output).end()
        assert output.getvalue() == ""

    def test_an_output_that_goes_away_does_not_end_the_work(self) -> None:
        output = Terminal()
        line = ProgressLine(output)
        line.show("frame 0")
        shown = output.getvalue()
        output.close()
        line.show("frame 1")
        line.end()
        assert shown.endswith("frame 0")
        assert output.closed


@pytest.mark.parametrize("inside", ["overlay.mp4", "masks", "."])
def test_a_source_among_the_results_is_refused_and_kept(tmp_path: Path, inside: str) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "overlay.mp4").write_bytes(b"a film")
    with pytest.raises(OutputError, match="lies in the folder of the results"):
        run_stream(StreamConfig(source=str(tmp_path / inside), out=tmp_path))
    assert (tmp_path / "overlay.mp4").read_bytes() == b"a film"


class TestStopOnSignals:
    @pytest.mark.usefixtures("hang_up_counts")
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_sets_the_event_and_handlers_come_back(self, number: signal.Signals) -> None:
        before = signal.getsignal(number)
        with stop_on_signals() as stop:
            assert not stop.is_set()
            os.kill(os.getpid(), number)
            assert stop.wait(PATIENCE_S)
            # A second one ends the program at once, as the user now expects.
            assert signal.getsignal(number) == signal.SIG_DFL
        assert signal.getsignal(number) == before

    def test_a_hang_up_that_is_ignored_stays_ignored(self) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with stop_on_signals() as stop:
                os.kill(os.getpid(), signal.SIGHUP)
                assert not stop.is_set()
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_outside_of_the_main_thread_signals_are_left_alone(self) -> None:
        seen: list[bool] = []

        def body() -> None:
            with stop_on_signals() as stop:
                seen.append(stop.is_set())

        thread = threading.Thread(target=body)
        thread.start()
        thread.join(PATIENCE_S)
        assert seen == [False]


def test_pictures_that_cannot_be_read_are_passed_over_listed_and_have_an_exit_code(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        assert cv2.imwrite(str(folder / f"{index}.png"), picture(index))
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:100])
    (folder / "plan.pdf").write_bytes(b"%PDF")
    model = write_quick_model(tmp_path / "quick.onnx")
    out = tmp_path / "out"
    done = stream("--source", folder, "--out", out, "--model", model, "--save", "jsonl")
    assert done.returncode == 12
    assert "2 pictures could not be read" in done.stderr
    frames = [json.loads(line) for line in (tmp_path / "out/frames.jsonl").read_text().splitlines()]
    assert [Path(one["path"]).name for one in frames] == ["0.png", "2.png"]
    events = [json.loads(line) for line in (tmp_path / "out/events.jsonl").read_text().splitlines()]
    told = {Path(one["path"]).name for one in events if one["kind"] == "source.unreadable"}
    assert told == {"1.png", "plan.pdf"}
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["frames"], summary["corrupt_frames"]) == (2, 2)


def test_the_matrix_products_of_numpy_have_one_thread_beside_the_network() -> None:
    def threads() -> set[int]:
        return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}

    if not threads():
        pytest.skip("numpy's matrix products are not of a library that threadpoolctl knows")
    with threadpool_limits(limits=2, user_api="blas"):
        with leave_cores_to_the_network():
            assert threads() == {1}
        assert threads() == {2}
