"""`tools/find-python` against made-up commands: what counts is what runs, not what is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "tools" / "find-python"

WORKS = f'exec "{sys.executable}" "$@"'
# What pyenv leaves for a version that is installed but not chosen.
SHIM = "echo 'pyenv: command not found' >&2; exit 127"
TOO_OLD = "echo 3.9"
TOO_NEW = "echo 3.13"
# Answers the question for its version, and fails the one for ensurepip.
WITHOUT_VENV = 'case "$2" in *ensurepip*) exit 1 ;; *) echo 3.11 ;; esac'


def find(folder: Path, commands: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run the script where only the given commands exist: exit status, output, errors."""
    for name, body in commands.items():
        command = folder / name
        command.write_text(f"#!/bin/sh\n{body}\n")
        command.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(SCRIPT), *arguments],
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.strip(), done.stderr


@pytest.mark.parametrize(
    ("commands", "chosen"),
    [
        ({"python3": WORKS, "python3.12": WORKS}, "python3"),
        ({"python3": SHIM, "python3.11": WORKS}, "python3.11"),
        ({"python3": TOO_NEW, "python3.12": SHIM, "python3.10": WORKS}, "python3.10"),
        ({"python3": TOO_OLD, "python3.12": WORKS, "python3.11": WORKS}, "python3.12"),
        ({"python3": WITHOUT_VENV, "python3.10": WORKS}, "python3.10"),
    ],
)
def test_takes_the_first_that_runs_and_fits(
    tmp_path: Path, commands: dict[str, str], chosen: str
) -> None:
    assert find(tmp_path, commands) == (0, chosen, "")


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ({}, "python3: does not run"),
        ({"python3": SHIM}, "python3: does not run"),
        ({"python3": TOO_NEW}, "python3: is Python 3.13"),
        ({"python3": WITHOUT_VENV}, "apt-get install python3.11-venv"),
    ],
)
def test_says_what_to_do_where_none_fits(
    tmp_path: Path, commands: dict[str, str], said: str
) -> None:
    status, output, errors = find(tmp_path, commands)
    assert (status, output) == (1, "")
    assert said in errors
    assert "edgecrack needs Python 3.10, 3.11 or 3.12" in errors


def test_a_python_named_by_the_user_is_taken_or_refused_but_never_replaced(tmp_path: Path) -> None:
    commands = {"python3": WORKS, "mine": TOO_OLD, "good": WORKS}
    assert find(tmp_path, commands, "good")[:2] == (0, "good")
    status, output, errors = find(tmp_path, commands, "mine")
    assert (status, output) == (1, "")
    assert "mine: is Python 3.9" in errors
