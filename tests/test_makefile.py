"""`make stream`, the first command that the README names, without the installing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="this machine has no make")


@pytest.fixture
def robot(tmp_path: Path) -> Path:
    """An environment that counts as installed, with this tree's edgecrack in it."""
    folder = tmp_path / "robot"
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "edgecrack"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edgecrack "$@"\n')
    program.chmod(0o755)
    (folder / ".installed").touch()
    return folder


def make_stream(robot: Path, *variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", "stream", f"ROBOT={robot}", *variables],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_the_second_run_goes_beside_the_first_and_is_what_is_listed(
    robot: Path, tmp_path: Path
) -> None:
    out = tmp_path / "my demo"
    for name in ("my demo", "my demo-2"):
        done = make_stream(robot, f"OUT={out}", "MAX_FRAMES=1")
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        place = tmp_path / name
        assert f"results: {place}" in lines
        listed = lines[lines.index(f"==> Done. The results are in {place}:") + 1 :]
        assert [line.strip() for line in listed] == sorted(
            path.name for path in place.iterdir() if not path.name.startswith(".")
        )
    assert f"those of this run go to {out}-2" in done.stderr
    assert len((out / "frames.jsonl").read_text().splitlines()) == 1


def test_a_stream_that_fails_fails_the_target(robot: Path, tmp_path: Path) -> None:
    done = make_stream(robot, f"OUT={tmp_path / 'out'}", "SOURCE=nowhere.mp4")
    assert done.returncode != 0
    assert "nowhere.mp4" in done.stderr
    assert "Done" not in done.stdout
