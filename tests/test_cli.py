"""The command line: what it says of bad input, its exit codes, its help, its progress."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from edgecrack import __version__, cli
from edgecrack.extras import origin
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from tests.runtime.models import write_quick_model
from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[1]
MODEL = str(BUNDLED_MODEL)
COMMANDS = [
    "train", "evaluate", "export", "calibrate", "build-engine",
    "stream", "survey", "review", "report", "inspect", "verify", "recover", "predict", "measure",
    "plan", "calibrate-camera", "target", "doctor", "benchmark", "yardstick",
    "model"]  # fmt: skip
NEEDS = {
    "train": ("torch", "lightning"),
    "evaluate": ("matplotlib",),
    "export": ("torch", "onnx"),
    "calibrate": ("onnx",),
}

pytestmark = pytest.mark.usefixtures("one_demo_wall")


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The error, which must be exactly one line with a remedy after a semicolon."""
        assert self.err.count("\n") == 1, self.err
        assert re.fullmatch(r"edgecrack: .+; .+\.\n", self.err), self.err
        assert "Traceback" not in self.err
        return self.err


Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Calls the program's entry point in this process, in an empty working folder."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("EDGECRACK_DEBUG", raising=False)

    def call(*words: object, whole_install: bool = True) -> Outcome:
        for module in NEEDS.get(str(words[0]) if words else "", ()) if whole_install else ():
            pytest.importorskip(module, reason=f"`{words[0]}` needs {module}")
        monkeypatch.setattr(sys, "argv", ["edgecrack", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call


def process(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    environment |= {"COLUMNS": "80"} | options.pop("env", {})
    return subprocess.run(
        [sys.executable, "-m", "edgecrack", *map(str, words)],
        env=environment,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        **({"capture_output": True} | options),
    )


def write_photo(path: Path, hw: tuple[int, int] = (96, 128)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(0).normal(140, 9, (*hw, 3)).clip(0, 255).astype(np.uint8)
    image[:, 50:53] = 30
    _, data = cv2.imencode(path.suffix, image)
    path.write_bytes(data.tobytes())
    return path


class TestStreamRefuses:
    @pytest.mark.parametrize(
        ("words", "code", "named", "remedy"),
        [
            (["--source", "demo", "--threshold", "2"], 2, "threshold is 2.0", "above 0"),
            (["--source", "demo", "--threshold", "nan"], 2, "nan", "above 0"),
            (["--source", "demo", "--threshold", "abc"], 2, "--threshold is 'abc'", "a number"),
            (["--source", "demo", "--max-frames", "0"], 2, "is 0", "1 or more"),
            (["--source", "demo", "--max-frames", "1.5"], 2, "'1.5'", "a whole number"),
            (["--source", "demo", "--max-frames=many"], 2, "'many'", "a whole number"),
            (["--source", "demo", "--save", "nonsense"], 2, "'nonsense'", "overlay, mask"),
            (["--source", "demo", "--save", ""], 2, "''", "overlay, mask"),
            (["--source", "demo", "--save", "none,mask"], 2, "'none,mask'", "alone"),
            (["--source", "demo", "--save", "mask,mask"], 2, "'mask,mask'", "once"),
            (["--source", "demo", "--overlap", "500"], 2, "500 px", "0 to 127"),
            (["--source", "demo", "--overlap", "-1"], 2, "-1 px", "0 to 127"),
            (["--source", "demo", "--threads", "0"], 2, "is 0", "1 to 1024"),
            (["--source", "demo", "--min-area", "-1"], 2, "-1", "0 or more"),
            (["--source", "demo", "--camera", "0"], 2, "both --source and --camera", "give"),
            ([], 2, "no source", "--camera 0"),
            (["--camera", "-1"], 2, "--camera is -1", "0 for the first"),
            (["--sauce", "demo"], 2, "--sauce", "stream --help"),
            (["--source"], 2, "--source", "--help"),
            (["--source", ""], 5, "empty", "demo"),
            (["--source", "demo?frames=0"], 5, "frames=0", "1 to"),
            (["--source", "0"], 5, "0 does not exist", "camera:0"),
            (["--source", "ftp://camera"], 5, "ftp://", "rtsp://"),
            (["--source", "none.mp4"], 5, "none.mp4 does not exist", "give"),
            (["--source", "empty"], 5, "empty holds no images", "put images"),
            (["--source", "bad.mp4"], 5, "bad.mp4 is not a video", "check"),
            (["--source", "demo", "--model", "none.onnx"], 4, "none.onnx does not exist", "path"),
            (["--source", "demo", "--model", "empty"], 4, "empty is a folder", "path"),
            (["--source", "demo", "--model", "text.onnx"], 4, "no sidecar", "edgecrack export"),
            (["--source", "demo", "--model", "cut.onnx"], 4, "cut.onnx does not match", "copy"),
            (["--source", "demo", "--out", "file"], 6, "file", "give"),
            (["--source", "demo", "--out", "file/below"], 6, "file/below", "folders"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_bad_input(
        self, run: Run, words: list[str], code: int, named: str, remedy: str
    ) -> None:
        Path("empty").mkdir()
        for name in ("bad.mp4", "text.onnx", "file"):
            Path(name).write_text("hello\n")
        Path("cut.onnx").write_bytes(BUNDLED_MODEL.read_bytes()[:1000])
        shutil.copy(f"{BUNDLED_MODEL}.json", "cut.onnx.json")
        outcome = run("stream", *words)
        problem, _, advice = outcome.sentence.partition("; ")
        assert outcome.code == code
        assert outcome.out == ""
        assert named in problem
        assert remedy in advice
        assert not Path("runs").exists()  # nothing is made before everything is known to fit

    @pytest.mark.skipif(sys.platform != "linux", reason="device files are Linux's")
    def test_a_camera_that_is_not_there(self, run: Run) -> None:
        outcome = run("stream", "--camera", "97")
        assert outcome.code == 5
        assert "/dev/video97" in outcome.sentence

    def test_foreign_files_in_the_way(self, run: Run) -> None:
        Path("out").mkdir()
        Path("out/frames.jsonl").write_text("mine\n")
        outcome = run("stream", "--source", "demo", "--max-frames", "1", "--out", "out")
        assert outcome.code == 6
        assert "frames.jsonl" in outcome.sentence
        assert Path("out/frames.jsonl").read_text() == "mine\n"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_without_permission(self, run: Run) -> None:
        Path("locked").mkdir(mode=0o500)
        outcome = run("stream", "--source", "demo", "--out", "locked/out")
        assert outcome.code == 6
        assert "permissions" in outcome.sentence


class TestOtherCommandsRefuse:
    @pytest.mark.parametrize(
        ("words", "code", "named", "remedy"),
        [
            (["nonsense"], 2, "'nonsense'", "--help"),
            (["--nonsense"], 2, "--nonsense", "--help"),
            (["predict", "--out", "p"], 2, "IMAGES", "predict --help"),
            (["predict", "none.png", "--out", "p"], 5, "none.png does not exist", "path"),
            (["predict", "empty", "--out", "p"], 5, "there are no images in empty", "give images"),
            (["predict", "file", "--out", "p"], 2, "file is not a still image", "stream"),
            (["predict", "bad.png", "--out", "p"], 5, "bad.png", "replace"),
            (["predict", "good.png", "--out", "file"], 6, "file", "give"),
            (["predict", "good.png", "--out", "p", "--save", "jsonl"], 2, "'jsonl'", "prob, mask"),
            (["predict", "good.png", "--out", "p", "--min-area", "-2"], 2, "-2", "0 or more"),
            (["evaluate", BUNDLED_MODEL, "--data", "none"], 3, "none does not exist", "--data"),
            (["evaluate", BUNDLED_MODEL, "--data", "empty"], 3, "no known layout", "images/"),
            (["evaluate", BUNDLED_MODEL, "--data", "cfd=set"], 3, "the layout cfd", "path"),
            (["evaluate", BUNDLED_MODEL, "--data", "set@2"], 2, "the weight 2", "leave out @"),
            (["evaluate", BUNDLED_MODEL, "--data", "clean:set"], 2, "is clean", "[NAME=]DIR"),
            (["evaluate", BUNDLED_MODEL, "--data", "synthetic"], 2, "is synthetic", "[NAME=]DIR"),
            (["evaluate", BUNDLED_MODEL], 2, "--data", "evaluate --help"),
            (["evaluate", "none.onnx", "--data", "set"], 4, "none.onnx", "path"),
            (["evaluate", BUNDLED_MODEL, "--data", "set", "--split", "x"], 2, "'x'", "all"),
            (["evaluate", BUNDLED_MODEL, "--data", "set", "--out", "file/r"], 6, "file/r", "give"),
            (["export", BUNDLED_MODEL, "-o", "x.onnx"], 4, "kind 'onnx'", "safetensors"),
            (["export", "file", "-o", "x.onnx"], 4, "file has no sidecar", "export"),
            (["export", "file", "-o", "./file"], 2, "would overwrite file", "another name"),
            (
                ["export", "file", "-o", "x.onnx", "--tile", "100"],
                2,
                "--tile is 100",
                "multiples of 8",
            ),
            (["export", "file", "-o", "x.onnx", "--tile", "8x8"], 2, "--tile is 8", "16 to 4096"),
            (["export", "file", "-o", "x.onnx", "--tile", "256x"], 2, "'256x'", "HEIGHTxWIDTH"),
            (["export", "file", "-o", "x.onnx", "--tile", "8x8x8"], 2, "'8x8x8'", "HEIGHTxWIDTH"),
            (["export", "file", "-o", "empty"], 6, "empty: it is a folder", "of a file"),
            (["export", "file", "-o", "x.onnx", "--tile", "a"], 2, "--tile is 'a'", "number"),
            (["export", "file", "-o", "x.onnx", "--batch", "0"], 2, "--batch is 0", "dynamic"),
            (["export", "file", "-o", "x.onnx", "--batch", "-1"], 2, "'-1'", "whole number"),
            (["export", "file", "-o", "file/x.onnx"], 6, "file", "give"),
            (["export", "file", "-o", "x.onnx", "--precision", "int8"], 2, "'int8'", "calibrate"),
            (["export", "file", "-o", "x.onnx", "--border", "fast"], 2, "'fast'", "fused, exact"),
            (["export", "file", "-o", "x.bin"], 2, "'x.bin'", "ends in .onnx"),
            (["calibrate", "no.onnx", "--data", "set", "-o", "x.onnx"], 4, "no.onnx", "path"),
            (["calibrate", MODEL, "--data", "no", "-o", "x.onnx"], 3, "no does not", "path"),
            (["calibrate", MODEL, "--data", "empty", "-o", "x.onnx"], 3, "no images", "give a"),
            (["calibrate", MODEL, "--data", "set", "-o", "x.onnx"], 3, "few images", "at least 3"),
            (["calibrate", MODEL, "--data", "set", "-o", MODEL], 2, "overwrite", "another name"),
            (["calibrate", "m", "--data", "d", "-o", "x.onnx", "--method", "x"], 2, "'x'", "mse"),
            (["calibrate", "m", "--data", "d", "-o", "x.onnx", "--max-drop", "nan"], 2, "nan", "0"),
            (["calibrate", "m", "--data", "d", "-o", "x.onnx", "--max-drop", "-1"], 2, "-1", "0"),
            (["calibrate", "m", "--data", "d", "-o", "x.onnx", "--max-flagged=-1"], 2, "-1", "0"),
            (["build-engine", MODEL, "-o", "x.engine", "--max-flagged", "nan"], 2, "nan", "0.05"),
            (["calibrate", "m", "--data", "d", "-o", "x.onnx", "--tiles", "9"], 2, "is 9", "64 to"),
            (["calibrate", "m", "--data", "d", "-o", "x.onnx", "--seed", "-1"], 2, "-1", "0 or"),
            (["build-engine", "m", "-o", "x.engine", "--target", "x"], 2, "'x'", "sm86"),
            (["build-engine", "m", "-o", "x.engine", "--batch", "1,2"], 2, "'1,2'", "1,8,8"),
            (["build-engine", "m", "-o", "x.engine", "--batch", "9" * 99], 2, "999", "digits"),
            (["build-engine", "m", "-o", "x.engine", "--batch", "0"], 2, "(0, 0, 0)", "1 to 4096"),
            (
                ["build-engine", "m", "-o", "x.engine", "--workspace", "0"],
                2,
                "--workspace is 0",
                "from 1 to",
            ),
            (["build-engine", "m", "-o", "x.engine", "--precision", "int4"], 2, "'int4'", "int8"),
            (["build-engine", "m", "-o", "x.engine", "--tensorrt", "x"], 2, "'x'", "tensorrt_rtx"),
            (["build-engine", "m", "-o", "x.engine", "--method", "x"], 2, "'x'", "entropy"),
            (["build-engine", "m", "-o", "x.engine", "--dla", "-1"], 2, "-1", "0 or 1"),
            (["build-engine", "m", "-o", "x.engine", "--optimization-level", "9"], 2, "9", "5"),
            (["train", "--out", "r"], 2, "no training data", "--data DIR"),
            (["train", "--data", "d", "--out", ""], 2, "--out is ''", "may be unset"),
            (["train", "--data", "set", "--out", "set"], 2, "set is the dataset", "runs/NAME"),
            (["train", "--data", "d", "--out", "r", "--preset", "empty"], 2, "directory", "read"),
            (["train", "--data", "d", "--out", "r", "--preset", "x"], 2, "'x'", "edge, paper"),
            (["train", "--data", "d", "--out", "r", "--set", "lr=1"], 2, "'lr'", "known are"),
            (["train", "--data", "d", "--out", "r", "--init", "x.y"], 4, "x.y", "path"),
            (["train", "--data", "d@0", "--out", "r"], 2, "weight", "above 0"),
            (["train", "--data", "d", "--out", "r", "--processes", "3"], 2, "16", "--batch 15"),
            (["train", "--data", "none", "--out", "r"], 3, "none does not exist", "--data"),
            (["train", "--data", "synthetic:x", "--out", "r"], 2, "'x'", "synthetic:COUNT"),
            (["train", "--data", "synthetic:9", "--out", "r", "--width", "0"], 2, "is 0", "1 to"),
            (["train", "--data", "d", "--out", "r", "--pooling", "avg"], 2, "'avg'", "stacked"),
            (["train", "--data", "d", "--out", "r", "--optimizer", "x"], 2, "'x'", "adamw"),
            (["train", "--data", "d", "--out", "r", "--schedule", "x"], 2, "'x'", "cosine"),
            (["train", "--data", "d", "--out", "r", "--precision", "16"], 2, "'16'", "bf16"),
            (["train", "--data", "d", "--out", "r", "--epochs", "0"], 2, "is 0", "from 1"),
            (["train", "--data", "d", "--out", "r", "--patch", "7"], 2, "7", "give"),
            (["train", "--data", "d", "--out", "r", "--learning-rate", "-1"], 2, "-1", "give"),
            (["train", "--data", "d", "--out", "r", "--resume"], 2, "to resume from", "--resume"),
        ],
        ids=lambda value: " ".join(map(str, value))[:60] if isinstance(value, list) else "",
    )
    def test_bad_input(
        self, run: Run, words: list[str], code: int, named: str, remedy: str
    ) -> None:
        Path("empty").mkdir()
        Path("file").write_text("hello\n")
        Path("bad.png").write_text("hello\n")
        write_photo(Path("good.png"))
        write_photo(Path("set/images/a.png"))
        write_photo(Path("set/masks/a.png"))
        outcome = run(*words)
        problem, _, advice = outcome.sentence.partition("; ")
        assert outcome.code == code
        assert named in problem
        assert remedy in advice

    def test_training_does_not_mix_two_runs(self, run: Run) -> None:
        Path("r").mkdir()
        Path("r/last.safetensors").write_text("")
        outcome = run("train", "--data", "synthetic:10", "--out", "r")
        assert outcome.code == 2
        assert "--resume" in outcome.sentence


@pytest.mark.parametrize(
    ("words", "module"),
    [
        (["evaluate", BUNDLED_MODEL, "--data", "x"], "matplotlib"),
        (["export", "best.safetensors", "-o", "x.onnx"], "torch"),
        (["train", "--data", "x", "--out", "r"], "torch"),
    ],
    ids=str,
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    outcome = run(*words, whole_install=False)
    assert outcome.code == 7
    assert module in outcome.sentence
    assert any(origin().install(extra) in outcome.sentence for extra in ("train", "export"))


def test_ctrl_c_outside_of_a_stream(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgecrack.prediction.batch.predict_images", interrupt)
    assert run("predict", "a.png", "--out", "p") == (130, "", "edgecrack: interrupted.\n")


def test_sigterm_ends_a_command_as_ctrl_c_does(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at once: `evaluate` has gigabytes of temporary files to remove."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def terminate(*arguments: object, **options: object) -> None:
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr("edgecrack.prediction.batch.predict_images", terminate)
    try:
        assert run("predict", "a.png", "--out", "p") == (130, "", "edgecrack: interrupted.\n")
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_fault_of_ours_is_one_line_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("edgecrack.prediction.batch.predict_images", fail)
    outcome = run("predict", "a.png", "--out", "p")
    assert outcome.code == 70
    assert "RuntimeError: two lines" in outcome.sentence
    assert "EDGECRACK_DEBUG=1" in outcome.sentence


def test_debug_shows_the_traceback_and_keeps_the_exit_code() -> None:
    words = ("stream", "--source", "none.mp4")
    plain, debug = process(*words), process(*words, env={"EDGECRACK_DEBUG": "1"})
    assert plain.returncode == debug.returncode == 5
    assert plain.stderr.count("\n") == 1
    assert "Traceback" in debug.stderr
    assert "open_source" in debug.stderr
    assert debug.stderr.endswith(plain.stderr)


def test_a_reader_that_goes_away_is_no_fault() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = process("--version", stdout=write_end, stderr=subprocess.PIPE, capture_output=False)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_an_output_that_is_full_is_named() -> None:
    with Path("/dev/full").open("w") as full:
        done = process("--version", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 6
    assert done.stderr.startswith("edgecrack: cannot write the output: No space left")
    assert done.stderr.count("\n") == 1


class TestHelp:
    def test_it_lists_all_commands(self, run: Run) -> None:
        outcome = run("--help")
        assert outcome.code == 0
        assert all(f" {name} " in outcome.out for name in COMMANDS)
        assert "Exit codes: 0 success" in outcome.out

    @pytest.mark.parametrize("command", COMMANDS)
    @pytest.mark.parametrize("flag", ["-h", "--help"])
    def test_each_command_lists_all_its_options_in_eighty_columns(
        self, run: Run, command: str, flag: str
    ) -> None:
        outcome = run(command, flag)
        assert (outcome.code, outcome.err) == (0, "")
        assert max(map(len, outcome.out.splitlines())) <= 80
        group: Any = typer.main.get_command(cli.app)
        parameters = group.commands[command].params
        assert len(parameters) >= (
            {"doctor": 1, "recover": 2, "target": 2, "verify": 1, "yardstick": 0, "model": 0}.get(
                command, 4
            )
        )
        for parameter in parameters:
            assert parameter.param_type_name == "argument" or parameter.help, parameter.name
            for option in (*parameter.opts, *parameter.secondary_opts):
                name = option if option.startswith("-") else parameter.metavar.rstrip(".")
                assert re.search(rf"(^|[\s│]){re.escape(name)}\b", outcome.out, re.M), option

    @pytest.mark.parametrize("command", ["build", "reserved"])
    def test_the_commands_of_the_yardstick_list_their_options(self, run: Run, command: str) -> None:
        outcome = run("yardstick", command, "-h")
        assert (outcome.code, outcome.err) == (0, "")
        assert max(map(len, outcome.out.splitlines())) <= 80
        group: Any = typer.main.get_command(cli.app)
        for parameter in group.commands["yardstick"].commands[command].params:
            assert parameter.param_type_name == "argument" or parameter.help, parameter.name
            assert all(option in outcome.out for option in parameter.opts if option[0] == "-")

    @pytest.mark.parametrize("command", ["use", "list", "back"])
    def test_the_commands_of_the_model_list_their_options(self, run: Run, command: str) -> None:
        outcome = run("model", command, "-h")
        assert (outcome.code, outcome.err) == (0, "")
        assert max(map(len, outcome.out.splitlines())) <= 80
        group: Any = typer.main.get_command(cli.app)
        for parameter in group.commands["model"].commands[command].params:
            assert parameter.param_type_name == "argument" or parameter.help, parameter.name
            assert all(option in outcome.out for option in parameter.opts if option[0] == "-")

    def test_the_list_above_is_whole(self) -> None:
        group: Any = typer.main.get_command(cli.app)
        assert set(COMMANDS) == set(group.commands)

    def test_no_summary_of_a_command_is_cut_off(self, run: Run) -> None:
        assert "..." not in run("--help").out.partition("Commands")[2]

    def test_version(self, run: Run) -> None:
        assert run("--version") == (0, f"edgecrack {__version__}\n", "")

    def test_help_loads_nothing_heavy(self) -> None:
        code = (
            "import sys; sys.argv = ['edgecrack', 'stream', '--help']\n"
            "from edgecrack.cli import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "heavy = {'numpy', 'cv2', 'torch', 'onnxruntime', 'matplotlib'} & set(sys.modules)\n"
            "assert not heavy, heavy\n"
        )
        subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, timeout=PATIENCE_S)


class TestAddresses:
    @pytest.mark.parametrize(
        "words",
        [
            ["stream", "--source", "demo", "--model", "https://bob:hunter2@host/x.onnx"],
            ["stream", "--source", "demo", "--out=https://bob:hunter2@host/x"],
            ["stream", "--source", "demo", "--record", "ftp://bob:hunter2@host/x.mcap"],
            ["predict", "a.jpg", "--out", "https://bob:hunter2@host/x"],
            ["export", "https://bob:hunter2@host/x.safetensors", "-o", "x.onnx"],
            ["recover", "https://bob:hunter2@host/x.mcap"],
        ],
    )
    def test_an_address_is_no_path(self, words: list[str], run: Run) -> None:
        outcome = run(*words)
        assert outcome.code == 2
        assert "://***@host/x" in outcome.sentence
        assert "an address instead of a path" in outcome.sentence
        assert "hunter2" not in outcome.err
        assert not list(Path().glob("*:"))


class TestPredict:
    def test_each_image_is_named_with_what_was_found(self, run: Run) -> None:
        write_photo(Path("walls/w1.png"))
        write_photo(Path("walls/w2.jpg"))
        outcome = run("predict", "walls", "--out", "p", "--save", "prob", "--threads", "1")
        assert (outcome.code, outcome.err) == (0, "")
        lines = outcome.out.splitlines()
        assert [line.partition(":")[0] for line in lines[:2]] == ["w1", "w2"]
        assert all("crack pixels in" in line for line in lines[:2])
        assert lines[2:] == ["2 images, results in p"]
        assert sorted(path.name for path in Path("p").glob("*.png")) == [
            "w1.prob.png", "w2.prob.png",
        ]  # fmt: skip

    def test_a_damaged_image_ends_nothing_and_has_an_exit_code_of_its_own(self, run: Run) -> None:
        for name in ("a.png", "c.png"):
            write_photo(Path("walls") / name)
        Path("walls/b.png").write_text("hello")
        outcome = run("predict", "walls", "--out", "p", "--threads", "1")
        assert outcome.code == 12
        assert outcome.out.splitlines()[1].startswith("walls/b.png: not read: it is damaged")
        assert "1 image could not be read: walls/b.png" in outcome.sentence
        assert Path("p/c.prob.png").is_file()

    def test_it_goes_on_where_it_was_stopped_and_beside_what_it_did(self, run: Run) -> None:
        write_photo(Path("walls/a.png"))
        words = ("predict", "walls", "--out", "p", "--save", "mask", "--threads", "1")
        assert run(*words).code == 0
        write_photo(Path("walls/b.png"))
        resumed = run(*words, "--resume")
        assert resumed.out.splitlines()[-1] == "1 image, 1 done earlier, results in p"
        beside = run(*words)
        assert beside.out.splitlines()[-1] == "2 images, results in p-2"
        assert "p holds other results" in beside.out

    def test_nobody_needs_to_read_what_it_says(self, tmp_path: Path) -> None:
        for number in range(3):
            write_photo(tmp_path / "walls" / f"{number}.png")
        words = ["-m", "edgecrack", "predict", "walls", "--out", "p", "--save", "mask"]
        with subprocess.Popen(
            [sys.executable, *words, "--threads", "1"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            child.stdout.close()
            assert child.wait(PATIENCE_S) == 0
        assert len(list((tmp_path / "p").glob("*.mask.png"))) == 3

    @pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
    def test_a_name_that_is_no_text(self, tmp_path: Path) -> None:
        photo = write_photo(tmp_path / "a.png")
        try:
            odd = photo.rename(tmp_path / os.fsdecode(b"\xff\xfe.png"))
        except OSError:
            pytest.skip("this file system takes only text as names")
        done = process("predict", odd, "--out", tmp_path / "p", "--save", "mask")
        assert done.returncode == 0, done.stderr
        assert "crack pixels" in done.stdout


def without_log(shown: str) -> str:
    """A slow machine may be told of: that a frame takes long, and when it is done."""
    return re.sub(r"\d\d:\d\d:\d\d \w+: [^\n]*\n", "", shown)


def words_of_four_frames(folder: Path) -> list[object]:
    model = write_quick_model(folder / "quick.onnx")
    words = ["stream", "--source", "demo", "--max-frames", "4", "--save", "none", "--threads", "1"]
    return [*words, "--model", model, "--out", folder / "out"]


def test_on_a_terminal_one_progress_line_is_rewritten(tmp_path: Path) -> None:
    terminal, slave = pty.openpty()
    words = words_of_four_frames(tmp_path)
    done = process(*words, stderr=slave, stdout=subprocess.PIPE, capture_output=False)
    os.close(slave)
    shown = without_log(os.read(terminal, 65536).decode())
    os.close(terminal)
    assert done.returncode == 0, shown
    assert shown.startswith("\r\x1b[2K")
    assert shown.endswith("\r\n")
    assert shown.count("\n") == 1
    assert "4 frames" in shown.rpartition("\x1b[2K")[2]
    assert done.stdout.startswith("4 frames at ")


def test_without_a_terminal_progress_is_a_few_plain_lines(tmp_path: Path) -> None:
    done = process(*words_of_four_frames(tmp_path))
    assert done.returncode == 0
    shown = without_log(done.stderr)
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert shown.count("\n") >= 1
    assert all(" frames | " in line for line in shown.splitlines())


@pytest.mark.parametrize(
    ("words", "now"),
    [
        (["export", "best.safetensors", "--output", "x.onnx"], "--out"),
        (["calibrate", "model.onnx", "--output=x.onnx"], "--out"),
        (["build-engine", "model.onnx", "--calibration-data", "photos"], "--data"),
        (["evaluate", "model.onnx", "--json", "scores.json"], "--scores-file FILE"),
        (["train", "--data", "walls", "--out", "run", "--devices", "2"], "--processes"),
        (["train", "--data", "walls", "--out", "run", "--accelerator", "gpu"], "--device"),
    ],
)
def test_an_earlier_name_of_an_option_says_the_present_one(
    words: list[str], now: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["edgecrack", *words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith(f"has been renamed; give {now}.")


def test_alone_it_shows_the_commands_of_daily_use() -> None:
    result = CliRunner().invoke(cli.app, [])
    assert result.exit_code == 0
    shown = [line.split()[1] for line in result.output.splitlines() if line.startswith("  edge")]
    assert shown == ["stream", "predict", "train", "evaluate", "build-engine"]


def test_every_out_has_its_letter() -> None:
    for name in ("stream", "predict", "train", "evaluate", "export", "calibrate", "build-engine"):
        assert re.search(r"-o\b", CliRunner().invoke(cli.app, [name, "--help"]).output), name
