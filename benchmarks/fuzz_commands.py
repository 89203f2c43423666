"""The fuzzer's command lines, run by the program's own entry in the worker's process.

Words are kept harmless: nothing outside the folder is named, no address but the loopback's, no
camera. What rightly runs on, such as a stream of a million frames, is interrupted as by Ctrl-C.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from unittest.mock import patch

import cv2
import numpy as np

from benchmarks.fuzz_files import Recordings
from benchmarks.fuzz_kind import ACCEPTED, Kind
from benchmarks.fuzz_mutations import ABSURD_NUMBERS, ODD_BYTES, WRONG_TYPES, mutate
from edgecrack import cli
from edgecrack.commands.exit_codes import UNEXPECTED

CTRL_C_AFTER_S = 8
_LINES = (
    "--version",
    "stream --help",
    "stream --source demo?frames=2&seed=7 --out run --max-frames 2 --threads 1 --min-area 8 "
    "--backend onnxruntime --mm-per-pixel 0.12+-0.005 --record run.mcap "
    "--record-part-size 1MiB --scales 1,0.5",
    "stream --source wall.png --out run --ignore nowhere.json --max-age-ms 500 --target-fps 5",
    "stream --source run.mcap --position recording --out run --distance-m 1.5+-0.02 "
    "--tilt-deg 5+-2",
    "predict wall.png --out found --save mask,prob --threads 1 --threshold 0.5 --overlap 16 "
    "--backend onnxruntime",
    "measure wall.png --out widths --mm-per-pixel 0.2+-0.01 --units metric --severity en-1992:xc3",
    "plan --distance-m 1.5 --speed-m-s 0.5 --exposure-ms 1 --fps 10 --focal-mm 8 --sensor-mm 7.2 "
    "--resolution 1920x1080 --width-mm 0.3 --json",
    "recover torn.mcap.part --out whole.mcap",
    "model list --json",
    "target --out sheet.png --dpi 60",
    "survey run --out map --mount 0,0,0.4,0,0,90 --json",
    "report run --format html,csv --language de --units imperial",
    "verify run",
    "calibrate-camera wall.png --out camera.yaml --board 9x6:25mm",
    "evaluate model.onnx --data photos --split test",
    "train --data photos --out trained --epochs 2 --width 4 --seed 1",
    "export model.safetensors --out model.onnx --tile 256x256 --batch 4 --precision fp16",
    "calibrate model.onnx --data photos --out int8.onnx --for cpu",
    "yardstick build --data photos --out yard --per-cell 1 --blur 0.8 --walls 1 --seed 3",
)
# Looks at the whole machine, or serves until it is ended; a changed word must not become one.
_LEFT_OUT = {
    b"doctor",
    b"review",
    b"benchmark",
    b"build-engine",
    b"--camera",
    b"--serve",
    b"--loop",
}


class CommandLines(Kind):
    """Words of the command line, divided by NUL bytes as in /proc/PID/cmdline."""

    name = "commands"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._place = folder / "place"
        self._accepted: frozenset[bytes] = frozenset()
        recordings = folder / "recordings"
        recordings.mkdir()
        self._whole, self._torn = Recordings(recordings).examples()
        wall = np.full((96, 128, 3), 150, np.uint8)
        wall[40:43, 10:120] = 40
        self._picture = cv2.imencode(".png", wall)[1].tobytes()

    def examples(self) -> list[bytes]:
        """The lines that end well; all are run once, which imports what they need."""
        lines = [b"\0".join(line.encode().split(b" ")) for line in _LINES]
        found = [line for line in lines if self._run(line, 0) == ACCEPTED]
        self._accepted = frozenset(found)
        return found

    def spoiled(self, rng: random.Random, examples: Sequence[bytes]) -> bytes:
        lines = [line.encode().split(b" ") for line in _LINES]
        words = list(rng.choice(lines))
        for _ in range(rng.choice((1, 1, 2, 3))):
            _spoil_words(rng, words, rng.choice(lines))
        return b"\0".join(_harmless(word) for word in words)

    def use(self, data: bytes) -> str:
        return self._run(data, 0 if data in self._accepted else CTRL_C_AFTER_S)

    def _run(self, data: bytes, ctrl_c_after_s: int) -> str:
        words = [os.fsdecode(word) for word in data.split(b"\0")] if data else []
        arguments = patch.object(sys, "argv", ["edgecrack", *words])
        with self._in_its_place(), _ended_by_ctrl_c(ctrl_c_after_s), arguments:
            try:
                cli.main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0
                if code == UNEXPECTED:
                    raise AssertionError("exit code 70") from end
                return f"exit {code}" if code else ACCEPTED
        return ACCEPTED

    @contextmanager
    def _in_its_place(self) -> Iterator[None]:
        """In a fresh folder with the files that the examples name."""
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir()
        (self._place / "wall.png").write_bytes(self._picture)
        (self._place / "run.mcap").write_bytes(self._whole)
        (self._place / "torn.mcap.part").write_bytes(self._torn)
        os.chdir(self._place)
        try:
            yield
        finally:
            os.chdir(self.folder)


def _spoil_words(rng: random.Random, words: list[bytes], other: Sequence[bytes]) -> None:
    at = rng.randrange(len(words)) if words else 0
    way = rng.randrange(8)
    if way == 0 and words:
        del words[at]
    elif way == 1 and words:
        words.insert(at, words[rng.randrange(len(words))])
    elif way == 2:
        words.insert(at, rng.choice(other))
    elif way == 3 and words:
        words[at : at + 2] = [b"=".join(words[at : at + 2])]
    elif way == 4:
        del words[rng.randrange(len(words) + 1) :]
    elif way == 5 and words:
        words[at] = mutate(rng, words[at], [*words, *other])[:100_000]
    elif words:
        # The value of an option becomes absurd, or the number in it.
        absurd = rng.choice(rng.choice((ABSURD_NUMBERS, ABSURD_NUMBERS, WRONG_TYPES, ODD_BYTES)))
        number = re.search(rb"\d+(\.\d+)?", words[at])
        if number and rng.random() < 0.6:
            words[at] = words[at][: number.start()] + absurd + words[at][number.end() :]
        elif not words[at].startswith(b"-"):
            words[at] = absurd


def _harmless(word: bytes) -> bytes:
    """The word without what could reach out of the folder or to a machine."""
    word = word.replace(b"\0", b"0").replace(b"/", b"_").replace(b"..", b"__").replace(b"~", b"_")
    name = word.partition(b"=")[0]
    if name in _LEFT_OUT or name.startswith(b"--came") or b"camera:" in word:
        return b"--left-out"
    return word


@contextmanager
def _ended_by_ctrl_c(after_s: int) -> Iterator[None]:
    """Ctrl-C for a command that takes long, 0 never; handlers as at a program's start."""

    def press(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    def leave(code: int) -> None:
        raise SystemExit(code)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, press)
    signal.alarm(after_s)
    try:
        with patch("os._exit", leave):  # a process of its own would end here
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
