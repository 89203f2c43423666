"""A library that is missing, or does not load, ends the program with 7 and the command that
helps."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecrack.commands.exit_codes import UNEXPECTED, failure_of
from edgecrack.doctor.libraries import missing_module
from edgecrack.doctor.machine import Machine
from edgecrack.extras import Origin
from tests.waiting import PATIENCE_S

Make = Callable[..., Machine]
NEEDED = ("numpy", "cv2", "onnxruntime", "av")


def stream_without(folder: Path, name: str, raised: str) -> subprocess.CompletedProcess[str]:
    """`edgecrack stream` of the demo where importing a library raises something."""
    (folder / f"{name}.py").write_text(f"raise {raised}\n")
    program = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "from edgecrack.cli import main\n"
        "sys.argv[1:] = ['stream', '--source', 'demo', '--max-frames', '1']\n"
        "main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=folder,
    )


@pytest.mark.parametrize("name", NEEDED)
def test_stream_without_a_library(tmp_path: Path, name: str) -> None:
    done = stream_without(tmp_path, name, f'ModuleNotFoundError("No module {name}", name="{name}")')
    assert done.returncode == 7, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"edgecrack: {name} is not installed; run: ")
    assert "pip install" in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["numpy", "cv2"])
def test_stream_with_a_library_that_does_not_load(tmp_path: Path, name: str) -> None:
    done = stream_without(tmp_path, name, 'ImportError("libGL.so.1: cannot open")')
    assert done.returncode == 7, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert f"{name} is installed but cannot be loaded (libGL.so.1: cannot open)" in last
    assert "run: edgecrack doctor" in last


def test_a_closed_environment_on_a_jetson(orin: Make) -> None:
    machine = orin(virtual_environment=Path("/opt/edgecrack"))
    error = missing_module(ModuleNotFoundError("no cv2", name="cv2"), machine)
    assert error is not None
    assert error.problem == ("cv2 is not found: this virtual environment hides the system's copy")
    assert "include-system-site-packages = true" in error.remedy
    assert "/opt/edgecrack/pyvenv.cfg" in error.remedy


@pytest.mark.parametrize(
    ("place", "name", "remedy"),
    [
        ("", "PIL", "run: pip install pillow"),
        ("", "cv2", "pip install opencv-python-headless"),
        ("/srv/edgecrack", "av", "run: pip install -e /srv/edgecrack"),
    ],
)
def test_the_command_that_helps(make: Make, place: str, name: str, remedy: str) -> None:
    machine = make(origin=Origin(place, editable=True), probes={})
    error = missing_module(ModuleNotFoundError("none", name=f"{name}.part"), machine)
    assert error is not None
    assert error.remedy.endswith(remedy)


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'edgecrack.nothing'", name="edgecrack.nothing"),
        ImportError("cannot import name 'x'", name="edgecrack.files"),
        ModuleNotFoundError("No module named '_sqlite3'", name="_sqlite3"),
        ImportError("of unknown origin"),
    ],
    ids=str,
)
def test_what_is_a_fault_of_the_program_stays_one(error: ImportError) -> None:
    assert missing_module(error) is None
    assert failure_of(error, [])[1] == UNEXPECTED


class TestTheService:
    """What the doctor says of the unit and its environment."""

    UNIT = (Path(__file__).resolve().parents[2] / "deploy/edgecrack.service").read_text()

    def found(self, build: Make, files: dict[str, Any]) -> tuple[str, str, str]:
        from edgecrack.doctor.system import check_service

        (line,) = check_service(build(files))
        return line.status, line.found, line.remedy

    def test_none(self, orin: Make) -> None:
        assert self.found(orin, {})[:2] == ("not needed here", "not installed")

    def test_a_closed_environment_on_a_jetson(self, orin: Make, make: Make) -> None:
        files = {
            "etc/systemd/system/edgecrack.service": self.UNIT,
            "opt/edgecrack/pyvenv.cfg": "include-system-site-packages = false\n",
        }
        status, found, remedy = self.found(orin, files)
        assert (status, "hides the system's OpenCV" in found) == ("missing", True)
        assert remedy.startswith("sudo sed -i")
        assert self.found(make, files)[0] == "ok"

    @pytest.mark.parametrize(
        ("before", "after", "words"),
        [
            ("RestartPreventExitStatus=2 4 7", "RestartPreventExitStatus=2", "cannot fix"),
            ("StartLimitIntervalSec=3600", "StartLimitIntervalSec=0", "forever, whatever fails"),
            ("ExecStart=/opt/edgecrack/bin", "ExecStart=/srv/other/bin", "no environment exists"),
            ("ExecStart=", "ExecStarts=", "does not say"),
            ("", "", "starts edgecrack in /opt/edgecrack"),
        ],
    )
    def test_a_unit(self, orin: Make, before: str, after: str, words: str) -> None:
        files = {
            "etc/systemd/system/edgecrack.service": self.UNIT.replace(before, after),
            "opt/edgecrack/pyvenv.cfg": "include-system-site-packages = true\n",
        }
        status, found, _ = self.found(orin, files)
        assert words in found
        assert (status == "ok") == (before == "")
