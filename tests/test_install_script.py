"""deploy/install.sh below a folder that stands for "/", with stand-ins for what changes a
system."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
SCRIPT = DEPLOY / "install.sh"
# A Python that makes environments of its own kind and notes what it is asked to do.
PYTHON = """#!/bin/bash
case "$*" in
    *version_info*) echo 3.10 ;;
    *"import cv2"*) exit "${NO_CV2:-0}" ;;
    *"import tensorrt"*) exit "${NO_TENSORRT:-0}" ;;
    "-m venv"*)
        folder="${!#}"
        mkdir -p "$folder/bin"
        cp "$0" "$folder/bin/python"
        seen=false
        case "$*" in *--system-site-packages*) seen=true ;; esac
        echo "include-system-site-packages = $seen" >"$folder/pyvenv.cfg"
        echo "python $*" >>"$CALLS"
        ;;
    "-m pip"*) echo "pip $*" >>"$CALLS"; touch "${0%/*}/edgecrack"; chmod +x "${0%/*}/edgecrack" ;;
esac
"""
USERADD = """#!/bin/bash
echo "useradd $*" >>"$CALLS"
echo "edgecrack:x:990:990::/var/lib/edgecrack:/usr/sbin/nologin" >>"$2/etc/passwd"
echo "edgecrack:x:990:" >>"$2/etc/group"
"""
USERDEL = """#!/bin/bash
echo "userdel $*" >>"$CALLS"
sed -i /^edgecrack:/d "$2/etc/passwd"
"""
GROUPDEL = """#!/bin/bash
sed -i /^edgecrack:/d "$2/etc/group"
"""


class Robot:
    """A folder tree that stands for a robot."""

    def __init__(self, folder: Path) -> None:
        self.root, self.programs, self.calls_file = (
            folder / "root",
            folder / "bin",
            folder / "calls",
        )
        self.architecture, self.variables = "x86_64", dict[str, str]()
        (self.root / "etc").mkdir(parents=True)
        self.programs.mkdir()
        (self.root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
        (self.root / "etc/group").write_text("root:x:0:\nvideo:x:44:\n")
        self.python = self._program("python-of-this-test", PYTHON)
        self._program("useradd", USERADD)
        self._program("userdel", USERDEL)
        self._program("groupdel", GROUPDEL)
        self._program("id", "#!/bin/sh\necho 0\n")
        self._program("chown", '#!/bin/sh\necho "chown $*" >>"$CALLS"\n')
        self._program("uname", '#!/bin/sh\necho "$ARCHITECTURE"\n')

    def _program(self, name: str, text: str) -> Path:
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def jetpack(self) -> None:
        self.architecture = "aarch64"
        (self.root / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3\n")

    def install(self, *options: str, code: int = 0) -> str:
        """Run the script, expect its exit code, and give what it said."""
        done = subprocess.run(
            [str(SCRIPT), "--root", self.root, "--python", self.python, *options],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env={
                **os.environ,
                "PATH": f"{self.programs}:{os.environ['PATH']}",
                "CALLS": str(self.calls_file),
                "ARCHITECTURE": self.architecture,
                **self.variables,
            },
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    @property
    def tree(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.root)): path.read_bytes() if path.is_file() else b"/"
            for path in self.root.rglob("*")
        }


@pytest.fixture
def robot(tmp_path: Path) -> Robot:
    return Robot(tmp_path)


def called(robot: Robot, start: str) -> list[str]:
    return [call for call in robot.calls if call.startswith(start)]


def test_on_a_desktop_the_environment_is_closed(robot: Robot) -> None:
    robot.install()
    (made,) = called(robot, "python -m venv")
    assert "--system-site-packages" not in made
    (packages,) = called(robot, "pip")
    assert f"-c {DEPLOY.parent}/constraints.txt {DEPLOY.parent}[record,serve,cpu]" in packages


def test_on_jetpack_it_sees_the_system_s_opencv_and_tensorrt(robot: Robot) -> None:
    robot.jetpack()
    robot.install()
    (made,) = called(robot, "python -m venv")
    assert "--system-site-packages" in made
    packages, cuda = called(robot, "pip")
    assert packages.endswith("[record,serve]")
    assert cuda.endswith(f"-c {DEPLOY.parent}/constraints.txt cuda-python")


def test_user_settings_results_and_unit(robot: Robot) -> None:
    (robot.root / "etc/group").write_text("video:x:44:\nrender:x:105:\n")
    robot.install()
    (user,) = called(robot, "useradd")
    assert "--system" in user
    assert "--groups video,render" in user
    unit, settings = (
        robot.root / "etc/systemd/system/edgecrack.service",
        robot.root / "etc/edgecrack/edgecrack.env",
    )
    assert unit.read_bytes() == (DEPLOY / "edgecrack.service").read_bytes()
    assert settings.stat().st_mode & 0o777 == 0o600
    assert called(robot, "chown") == [f"chown 990:990 {robot.root}/var/lib/edgecrack"]


@pytest.mark.parametrize("jetpack", [False, True])
def test_a_second_run_changes_nothing(robot: Robot, jetpack: bool) -> None:
    if jetpack:
        robot.jetpack()
    robot.install()
    settings = robot.root / "etc/edgecrack/edgecrack.env"
    settings.write_text("EDGECRACK_SOURCE=csi://0\n")
    before = robot.tree
    robot.install()
    assert robot.tree == before
    assert len(called(robot, "useradd")) == len(called(robot, "python -m venv")) == 1


def test_an_environment_of_the_wrong_kind_is_made_anew(robot: Robot) -> None:
    robot.install()
    robot.jetpack()
    robot.install()
    assert ["--system-site-packages" in call for call in called(robot, "python -m venv")] == [
        False,
        True,
    ]


@pytest.mark.parametrize("option", ["--dry-run", "--remove"])
def test_what_is_only_said_is_not_done(robot: Robot, option: str) -> None:
    before = robot.tree
    said = robot.install("--dry-run", option)
    assert robot.tree == before
    assert robot.calls == []
    if option == "--dry-run":
        assert "would run: useradd" in said
        assert "nothing was changed" in said


@pytest.mark.parametrize("jetpack", [False, True])
def test_remove_leaves_what_was_there_before(robot: Robot, jetpack: bool) -> None:
    if jetpack:
        robot.jetpack()
    folders = ("opt", "var/lib", "etc/systemd/system")
    for folder in folders:
        (robot.root / folder).mkdir(parents=True)
    before = robot.tree
    robot.install()
    assert robot.tree != before
    robot.install("--remove")
    assert robot.tree == before
    robot.install("--remove")
    assert robot.tree == before


def test_remove_keeps_results_their_owner_and_edited_settings(robot: Robot) -> None:
    robot.install()
    results = robot.root / "var/lib/edgecrack/runs"
    results.mkdir()
    settings = robot.root / "etc/edgecrack/edgecrack.env"
    settings.write_text("EDGECRACK_SOURCE=csi://0\n")
    robot.install("--remove")
    assert results.is_dir()
    assert settings.is_file()
    assert called(robot, "userdel") == []
    assert not (robot.root / "opt/edgecrack").exists()


@pytest.mark.parametrize("options", [(), ("--remove",)])
def test_a_folder_of_somebody_else_is_left_alone(robot: Robot, options: tuple[str, ...]) -> None:
    other = robot.root / "opt/edgecrack/theirs"
    other.parent.mkdir(parents=True)
    other.write_text("theirs")
    said = robot.install(*options, code=0 if options else 6)
    assert "contains something else" in said
    assert other.read_text() == "theirs"


@pytest.mark.parametrize(
    ("jetpack", "remedy"),
    [(False, "pip install opencv-python-headless"), (True, "apt-get install nvidia-opencv")],
)
def test_without_opencv_it_says_what_to_install(robot: Robot, jetpack: bool, remedy: str) -> None:
    if jetpack:
        robot.jetpack()
    robot.variables["NO_CV2"] = "1"
    assert remedy in robot.install(code=7)
    assert not (robot.root / "etc/systemd/system/edgecrack.service").exists()


def test_without_tensorrt_a_jetson_is_warned(robot: Robot) -> None:
    robot.jetpack()
    robot.variables["NO_TENSORRT"] = "1"
    assert "apt-get install python3-libnvinfer" in robot.install()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--extra", "record"), 2, "no option '--extra'"),
        (("--extras",), 2, "--extras needs a value"),
        (("--extras", "a b"), 2, "--extras is 'a b'"),
        (("--root", "/no/such/folder"), 6, "is not a folder"),
        (("--python", "/no/such/python"), 7, "does not run"),
    ],
)
def test_what_it_refuses(robot: Robot, options: tuple[str, ...], code: int, words: str) -> None:
    assert words in robot.install(*options, code=code)


def test_the_shell_has_nothing_against_it() -> None:
    if not (shellcheck := shutil.which("shellcheck")):
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stdout == ""
