"""Signals at any moment of the program's life, which it sends to itself, so that none is missed."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[2]

# Sends a signal when a module is imported for the so many-th time, counted from the first line.
PROGRAM = """
import os, sys
number, moment, sys.argv[1:] = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
from edgecrack.entry import main
class Counting:
    count = 0
    def find_spec(self, name, path=None, target=None):
        Counting.count += 1
        if Counting.count == moment:
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Counting())
try:
    main()
finally:
    if not moment:
        print(Counting.count)
"""
COMMAND = ["recover", "no-such-file.mcap"]
NOT_FOUND = (5, "edgecrack: no-such-file.mcap does not exist; give an MCAP file.\n")
INTERRUPTED = (130, "edgecrack: interrupted.\n")


def run(number: int, moment: int, *command: str) -> tuple[int, str, str]:
    words = [sys.executable, "-c", PROGRAM, str(int(number)), str(moment), *(command or COMMAND)]
    done = subprocess.run(
        words, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return done.returncode, done.stderr, done.stdout


@pytest.fixture(scope="module")
def imports() -> int:
    """How many modules the command imports."""
    code, said, counted = run(0, 0)
    assert (code, said) == NOT_FOUND
    return int(counted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_at_any_moment_is_one_line(number: signal.Signals, imports: int) -> None:
    assert imports > 100
    for moment in range(1, imports, imports // 6):
        assert (moment, *run(number, moment)) == (moment, *INTERRUPTED, "")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_signals_that_mean_nothing_to_a_service_do_nothing(
    number: signal.Signals, imports: int
) -> None:
    for moment in (1, imports // 2, imports - 1):
        words = [sys.executable, "-c", PROGRAM, str(int(number)), str(moment), *COMMAND]
        done = subprocess.run(
            words,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            start_new_session=True,  # without a terminal
        )
        assert (done.returncode, done.stderr) == NOT_FOUND


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_when_its_terminal_goes_away_a_command_is_interrupted(share: float, imports: int) -> None:
    moment = max(1, int(imports * share) - 1)
    words = [sys.executable, "-c", PROGRAM, str(int(signal.SIGHUP)), str(moment), *COMMAND]
    process, terminal = pty.fork()
    if process == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
        os.chdir(REPOSITORY)
        os.execv(words[0], words)
    said = b""
    try:
        while piece := os.read(terminal, 4096):
            said += piece
    except OSError:
        pass  # the terminal has ended
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130
    assert said == b"edgecrack: interrupted.\r\n"


# What becomes of an interruption elsewhere: another error, nothing at all, an exit of Python's own.
SWALLOWED = {
    "another error": """
try: os.kill(os.getpid(), 2); time.sleep(60)
except KeyboardInterrupt as error: raise RuntimeError("module failed") from error
""",
    "nothing": """
class Closing:
    def __del__(self): os.kill(os.getpid(), 2); time.sleep(60)
closing = Closing(); del closing
time.sleep(60)
""",
    "within exec": "exec('os.kill(os.getpid(), 2); time.sleep(60)')",
}


@pytest.mark.parametrize("how", SWALLOWED)
def test_whatever_a_library_makes_of_an_interruption(how: str) -> None:
    body = "import edgecrack.mcap.parts.recovery as recovery\ndef recover(*_):\n" + "".join(
        f"    {line}\n" for line in SWALLOWED[how].strip().splitlines()
    )
    program = (
        f"import os, sys, time\nfrom edgecrack.entry import main\n{body}"
        "recovery.recover = recover\nsys.argv[1:] = ['recover', 'a.mcap']\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == INTERRUPTED


@pytest.mark.parametrize("closes_stderr", [False, True])
@pytest.mark.parametrize("command", [["stream", "--help"], [], COMMAND])
def test_a_reader_that_goes_away_hears_no_traceback(
    command: list[str], closes_stderr: bool
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "edgecrack", *command]
    try:
        done = subprocess.run(
            words,
            cwd=REPOSITORY,
            stdout=writing,
            stderr=writing if closes_stderr else subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    finally:
        os.close(writing)
    # Nothing was to be written on standard output by the command that fails.
    expected = NOT_FOUND if command == COMMAND else (1, "")
    assert done.returncode == expected[0] or (closes_stderr and done.returncode == 1)
    assert closes_stderr or done.stderr == expected[1]
