"""Fuzzes every kind of external input: what is refused, and what fails.

    python benchmarks/fuzz.py [--inputs 2000] [--seed 1] [--processes 2] [--keep DIR]
    python benchmarks/fuzz.py --only images --number 17 --seed 1

Command lines, sidecars, checkpoints, recordings and their parts, images, MJPEG streams, lines of
positions, requests to the live page: valid ones are made by the project's own writers and then
spoiled, by a seed (`fuzz_mutations.py`). A process uses up to 250 of them one after another, with
1 GiB of address space more than it had after the valid ones. A failure is a traceback, exit code
70, an input that takes longer than 20 s, or one that the process dies of or gets no memory for. A
refused allocation that edgecrack turns into a sentence is a refusal. Exits 1 if anything failed.
Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.fuzz_kind import ACCEPTED, quiet_environment  # noqa: E402
from benchmarks.machine import write_result  # noqa: E402

NAMES = (
    "commands", "sidecars", "checkpoints", "recordings", "images", "mjpeg", "positions", "page",
)  # fmt: skip
TIMEOUT_S = 20.0
_BATCH = 250
_START_S = 300.0


@dataclass
class Failure:
    """An input that failed.

    Attributes:
        kind: of the input.
        number: of the input within its kind.
        what: "traceback", "memory", "hang" or "died".
        trace: the traceback, or how the process ended.
        content: the input.
    """

    kind: str
    number: int
    what: str
    trace: str
    content: bytes


@dataclass
class Tally:
    """What became of a kind's inputs."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        refused = {name: count for name, count in self.outcomes.items() if name != ACCEPTED}
        return {
            "inputs": self.outcomes.total() + len(self.failures),
            "accepted": self.outcomes[ACCEPTED],
            "refused": dict(sorted(refused.items())),
            "failures": len(self.failures),
            "seconds": round(self.seconds, 1),
        }


class BrokenFuzzerError(Exception):
    """A worker does not start, or a valid example is not accepted."""


def fuzz_kind(name: str, seed: int, first: int, end: int, timeout_s: float = TIMEOUT_S) -> Tally:
    """Use a kind's inputs from `first` to before `end`.

    Raises:
        BrokenFuzzerError: the examples are not accepted, so that nothing can be learnt.
    """
    tally, began = Tally(), time.monotonic()
    while first < end:
        first = _run_worker(name, seed, first, min(end, first + _BATCH), timeout_s, tally)
    tally.seconds = time.monotonic() - began
    return tally


def _run_worker(name: str, seed: int, first: int, end: int, timeout_s: float, tally: Tally) -> int:
    """Start one worker; returns the number of the first input that it has not used."""
    with tempfile.TemporaryDirectory(prefix="edgecrack-fuzz-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        words = [name, str(seed), str(first), str(end), place]
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks" / "fuzz_worker.py"), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=quiet_environment(folder),
            cwd=place,
        )
        try:
            return _follow(process, folder, name, first, end, timeout_s, tally)
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _follow(
    process: subprocess.Popen[bytes],
    folder: Path,
    name: str,
    first: int,
    end: int,
    timeout_s: float,
    tally: Tally,
) -> int:
    busy: int | None = None
    assert process.stdout is not None
    reader = _Lines(process.stdout.fileno())
    while True:
        line = reader.next(_START_S if busy is None else timeout_s)
        if line:
            told = json.loads(line)
            if "broken" in told:
                raise BrokenFuzzerError(f"{name}: a valid example was not accepted: {told}")
            if "begin" in told:
                busy = told["begin"]
                continue
            busy, first = None, told["end"] + 1
            if told["trace"]:
                content = (folder / "input").read_bytes()
                tally.failures.append(
                    Failure(name, told["end"], told["outcome"], told["trace"], content)
                )
            else:
                tally.outcomes[told["outcome"]] += 1
            continue
        if line is None:
            _abort(process)
        if busy is None and first < end and line is None:
            raise BrokenFuzzerError(f"{name}: the worker hangs between inputs: {_said(folder)}")
        if busy is None:
            if process.wait(timeout_s) and first < end and not tally.failures:
                raise BrokenFuzzerError(f"{name}: the worker does not start: {_said(folder)}")
            return first
        what = "hang" if line is None else "died"
        trace = f"longer than {timeout_s:g} s" if line is None else f"exit {process.wait()}"
        content = (folder / "input").read_bytes()
        tally.failures.append(Failure(name, busy, what, f"{trace}\n{_said(folder)}", content))
        return busy + 1


def _said(folder: Path) -> str:
    """The end of what a worker printed, which shows where each of its threads was."""
    return (folder / "said").read_text("utf-8", "replace")[-4000:]


def _abort(process: subprocess.Popen[bytes]) -> None:
    """End a worker that hangs, so that it says where."""
    process.send_signal(signal.SIGABRT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)


class _Lines:
    """Lines of a pipe, each with a timeout."""

    def __init__(self, number: int) -> None:
        self._number, self._rest = number, b""

    def next(self, timeout_s: float) -> bytes | None:
        """A line; empty at the end; None where none comes in time."""
        until_s = time.monotonic() + timeout_s
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._number], [], [], max(0, until_s - time.monotonic()))
            if not ready:
                return None
            data = os.read(self._number, 65_536)
            if not data:
                return b""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def keep(folder: Path, failure: Failure, seed: int) -> str:
    """Write a failing input and what it did; returns the command that reproduces it."""
    command = (
        f"python benchmarks/fuzz.py --only {failure.kind} --number {failure.number} --seed {seed}"
    )
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{failure.kind}-{failure.number}"
    (folder / f"{stem}.input").write_bytes(failure.content)
    (folder / f"{stem}.txt").write_text(f"{command}\n{failure.what}\n{failure.trace}\n", "utf-8")
    return command


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=2000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", choices=NAMES, action="append", help="this kind alone")
    parser.add_argument("--number", type=int, help="this input alone, of the kind of --only")
    parser.add_argument("--keep", type=Path, help="folder for inputs that fail")
    given = parser.parse_args()
    names = given.only or list(NAMES)
    first, end = 0, -(-given.inputs // len(names))
    if given.number is not None:
        if len(names) != 1:
            parser.error(f"--number {given.number} needs one --only KIND")
        first, end = given.number, given.number + 1
    with ThreadPoolExecutor(given.processes) as pool:
        tallies = dict(
            zip(names, pool.map(lambda name: fuzz_kind(name, given.seed, first, end), names),
                strict=True)
        )  # fmt: skip
    for name, tally in tallies.items():
        print(name, tally.to_dict(), flush=True)
        for failure in tally.failures:
            kept = given.keep or Path(tempfile.gettempdir()) / "edgecrack-fuzz-failures"
            print(f"  {failure.what}: {keep(kept, failure, given.seed)}")
            if given.number is not None:
                print(failure.trace)
    if given.number is None and not given.only:
        _write(tallies, given.seed)
    raise SystemExit(any(tally.failures for tally in tallies.values()))


def _write(tallies: dict[str, Tally], seed: int) -> None:
    rows = {name: tally.to_dict() for name, tally in tallies.items()}
    failed = [
        {"kind": one.kind, "number": one.number, "what": one.what,
         "last_line": (one.trace.strip().splitlines() or [""])[-1][:200]}
        for tally in tallies.values() for one in tally.failures
    ]  # fmt: skip
    total = {
        key: sum(row[key] for row in rows.values()) for key in ("inputs", "accepted", "failures")
    }
    write_result(
        "fuzz",
        {"seed": seed, **total, "kinds": rows, "failed": failed},
        "numpy", "opencv-python-headless", "pillow", "av", "mcap", "safetensors", "uvicorn",
    )  # fmt: skip


if __name__ == "__main__":
    main()
