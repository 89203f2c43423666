"""`edgecrack stream` on live sources, mostly as a process: waiting, stopping, refusing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgecrack import cli
from tests.runtime.models import write_quick_model
from tests.waiting import PATIENCE_S, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("one_demo_wall")


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "edgecrack", "stream", "--threads", "1", *map(str, words)]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_S
    )


@contextmanager
def running(*words: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(*words),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background ignores SIGINT, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def events(out: Path) -> list[dict[str, object]]:
    file = out / "events.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_quick_model(tmp_path_factory.mktemp("model") / "quick.onnx")


def check_that_a_waiting_stream_ends_cleanly(
    port: int, number: signal.Signals, folder: Path
) -> None:
    address = f"http://127.0.0.1:{port}/stream"
    words = ["--source", address, "--wait", "--json", "--save", "jsonl", "--out", folder]
    with running(*words, "--record", folder / "run.mcap") as process:
        wait_until(lambda: bool(events(folder)), "it did not notice that nobody answers")
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert json.loads(output)["end_reason"] == "stopped"
    assert events(folder)[0]["kind"] == "source.lost"
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_that_waits_for_a_camera_ends_cleanly(
    tmp_path: Path, number: signal.Signals
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and nobody listens
        check_that_a_waiting_stream_ends_cleanly(closed.getsockname()[1], number, tmp_path)


@pytest.mark.slow
def test_a_stream_whose_camera_never_answers_ends_cleanly(tmp_path: Path) -> None:
    """It takes ten seconds to give up a camera that lets it in and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        check_that_a_waiting_stream_ends_cleanly(silent.getsockname()[1], signal.SIGTERM, tmp_path)


def test_a_camera_that_never_comes_is_an_error_at_once_without_wait(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"rtsp://admin:hunter2@127.0.0.1:{free.getsockname()[1]}/live"
        done = run("--source", address, "--out", tmp_path)
    assert done.returncode == 5
    assert "hunter2" not in done.stderr + done.stdout
    warning, error = done.stderr.splitlines()
    assert "can read the source's password" in warning
    assert "connection refused" in error


def run_here(*words: object) -> int:
    """The exit code of the command in this process, which spares a start of Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["edgecrack", *command(*words)[3:]])
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


@pytest.fixture(scope="module")
def results(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of one frame leaves."""
    out = tmp_path_factory.mktemp("results") / "out"
    words = ["--source", "demo", "--model", model, "--max-frames", 1, "--save", "jsonl"]
    assert run_here(*words, "--out", out) == 0
    return out


class TestEarlierResults:
    @pytest.fixture
    def earlier(self, results: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(results, tmp_path / "out"))

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (("--serve", "127.0.0.1:PORT"), 2),
            (("--record", "/proc/nowhere/run.mcap"), 6),
            (("--max-age-ms", "100"), 2),
            (("--position", "recording"), 2),
        ],
    )
    @pytest.mark.parametrize("more", [(), ("--overwrite",), ("--continue",)])
    def test_a_command_that_is_refused_leaves_them(
        self,
        earlier: Path,
        model: Path,
        words: tuple[str, str],
        code: int,
        more: tuple[str, ...],
    ) -> None:
        before = (earlier / "frames.jsonl").read_text()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            option, value = words
            value = value.replace("PORT", str(taken.getsockname()[1]))
            given = ["--source", "demo", "--model", model, "--save", "jsonl", "--out", earlier]
            assert run_here(*given, *more, option, value) == code
        assert (earlier / "frames.jsonl").read_text() == before
        assert (earlier / "summary.json").exists()
        assert [path.name for path in earlier.parent.iterdir()] == ["out"]  # and nothing beside

    @pytest.mark.parametrize(
        ("more", "code"), [((), 0), (("--continue",), 0), (("--overwrite",), 6)]
    )
    def test_a_run_that_goes_on_keeps_its_folder(
        self,
        model: Path,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
        more: tuple[str, ...],
        code: int,
    ) -> None:
        out = tmp_path / "out"
        words = ["--model", model, "--save", "jsonl", "--out", out]
        with running("--source", "demo?live=1", *words) as process:
            wait_until((out / "frames.jsonl").exists, "the first run did not start")
            assert run_here("--source", "demo", "--max-frames", 1, *words, *more) == code
            said = capfd.readouterr()
            if code:
                assert "another run writes into" in said.err
            else:
                assert f"results: {out}-2" in said.out
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert (out / "frames.jsonl").read_text()


def test_the_log_as_json_lines(model: Path, tmp_path: Path) -> None:
    done = run(
        "--source", "demo", "--model", model, "--max-frames", 2, "--save", "jsonl",
        "--out", tmp_path,
        "--log-format", "json", "--record", tmp_path / "run.mcap", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"recording.part", "stats", "recording.finished"} <= {line["kind"] for line in lines}
    assert {line["schema_version"] for line in lines} == {2}
    assert json.loads(done.stdout)["frames"] == 2


class Manager:
    """Reads all the while, as systemd does: the kernel keeps ten messages and no more."""

    def __init__(self, listener: socket.socket) -> None:
        self.heard: list[str] = []
        self._listener = listener
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self.heard or self.heard[-1] != "STOPPING=1":
            self.heard.append(self._listener.recv(4096).decode())

    def wait_for_the_end(self) -> None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), f"no end after {self.heard[-3:]}"


def test_systemd_hears_of_start_life_and_end(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        manager = Manager(listener)
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "200000",
        }
        words = ["--source", "demo", "--max-frames", 6, "--save", "none", "--out", tmp_path / "out"]
        done = subprocess.run(
            command(*words),
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr
        manager.wait_for_the_end()
    heard = manager.heard
    assert heard[0] == "READY=1"
    assert "WATCHDOG=1" in heard
    assert any(message.startswith("STATUS=") for message in heard)
    assert heard[-1] == "STOPPING=1"


def test_the_time_of_the_start_in_the_folder_s_name(model: Path, tmp_path: Path) -> None:
    words = ["--source", "demo", "--model", model, "--max-frames", 1, "--save", "none"]
    assert run_here(*words, "--out", tmp_path / "{date}_{time}") == 0
    (folder,) = tmp_path.iterdir()
    date, _, moment = folder.name.partition("_")
    assert re.fullmatch(r"\d{8}", date)
    assert re.fullmatch(r"\d{8}T\d{6}Z", moment)


def test_recover_goes_on_after_a_file_that_is_none(model: Path, tmp_path: Path) -> None:
    words = ["--source", "demo", "--model", model, "--max-frames", 2, "--save", "none"]
    assert run_here(*words, "--out", tmp_path / "out", "--record", tmp_path / "run.mcap") == 0
    whole = tmp_path / "run_0001.mcap"
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole.read_bytes()[:-500])
    files = [tmp_path / "nothing.mcap", cut, tmp_path / "neither.mcap", whole]
    done = subprocess.run(
        [sys.executable, "-m", "edgecrack", "recover", *map(str, files)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 5
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [str(cut), str(whole)]
    assert (tmp_path / "cut_recovered.mcap").exists()
    assert len(done.stderr.splitlines()) == 2
    assert "nothing.mcap" in done.stderr
    assert "neither.mcap" in done.stderr
