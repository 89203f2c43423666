"""Uses the fuzzer's inputs one after another, in a process with a memory limit.

Started by `benchmarks/fuzz.py`, which reads a line of JSON before and after each input on standard
output, and so knows which one a process that dies or hangs was busy with. What edgecrack prints
goes to a file, since a traceback in it is a failure, too.

    python benchmarks/fuzz_worker.py images 0 10 1 FOLDER
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import resource
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.fuzz_kind import ACCEPTED, Kind, input_of  # noqa: E402

MOST_MEMORY_BYTES = 1 << 30
_MOST_FILE_BYTES = 1 << 30
_TRACEBACK = b"Traceback (most recent call last)"
_SHOWN = 6000


KINDS = {
    "commands": "benchmarks.fuzz_commands:CommandLines",
    "sidecars": "benchmarks.fuzz_files:Sidecars",
    "checkpoints": "benchmarks.fuzz_files:Checkpoints",
    "recordings": "benchmarks.fuzz_files:Recordings",
    "images": "benchmarks.fuzz_files:Images",
    "mjpeg": "benchmarks.fuzz_network:MjpegStreams",
    "positions": "benchmarks.fuzz_network:PositionLines",
    "page": "benchmarks.fuzz_network:PageRequests",
}


def kind_named(name: str) -> type[Kind]:
    """A kind by a name of `KINDS`, or by module and class, as `KINDS` says them."""
    module, _, member = KINDS.get(name, name).partition(":")
    found: type[Kind] = getattr(importlib.import_module(module), member)
    return found


class Worker:
    """One kind of input in one process.

    Args:
        kind: opened.
        seed: of the run.
        channel: where to tell the parent.
        folder: where the input in hand and what is printed lie.
    """

    def __init__(self, kind: Kind, seed: int, channel: TextIO, folder: Path) -> None:
        self._kind, self._seed, self._channel = kind, seed, channel
        self._input, self._said = folder / "input", folder / "said"
        self._said.touch()
        self._from_threads: list[str] = []
        threading.excepthook = self._hear

    def _hear(self, arguments: threading.ExceptHookArgs) -> None:
        self._from_threads.append("".join(traceback.format_exception(arguments.exc_value)))

    def run(self, first: int, end: int) -> None:
        """Check the examples, limit the memory, and use the inputs from `first` to before `end`."""
        examples = self._kind.examples()
        for example in examples:
            outcome, trace = self._used(example)
            if trace or outcome != ACCEPTED:
                self._tell(broken=f"{outcome} {trace or ''}", example=repr(example[:300]))
                return
        _limit_memory()
        for number in range(first, end):
            data = input_of(self._kind, examples, self._seed, number)
            self._input.write_bytes(data)
            self._tell(begin=number)
            outcome, trace = self._used(data)
            self._tell(end=number, outcome=outcome, trace=trace)
            if trace:  # what a failure leaves behind is nobody else's
                return

    def _used(self, data: bytes) -> tuple[str, str | None]:
        os.truncate(self._said, 0)
        self._from_threads.clear()
        try:
            outcome = self._kind.use(data)
        except KeyboardInterrupt:
            outcome = "interrupted"
        except BaseException as error:
            text = "".join(traceback.format_exception(error))
            return ("memory" if isinstance(error, MemoryError) else "traceback"), text[-_SHOWN:]
        sys.stdout.flush()
        sys.stderr.flush()
        said = self._said.read_bytes()
        if _TRACEBACK in said or self._from_threads:
            text = said.decode("utf-8", "replace") + "".join(self._from_threads)
            return ("memory" if "MemoryError" in text else "traceback"), text[-_SHOWN:]
        return outcome, None

    def _tell(self, **what: Any) -> None:
        self._channel.write(json.dumps(what) + "\n")
        self._channel.flush()


def _limit_memory() -> None:
    """Address space that may be taken from now on, which is never less than what is used of it."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + MOST_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_FILE_BYTES, _MOST_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    name, seed, first, end, folder = sys.argv[1:6]
    place = Path(folder)
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    said = os.open(place / "said", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    faulthandler.enable()  # shows where a process hung when the parent ends it by SIGABRT
    files = place / "files"
    files.mkdir()
    with kind_named(name)(files) as kind:
        Worker(kind, int(seed), channel, place).run(int(first), int(end))
    os._exit(0)  # threads that a stream left behind are no concern here


if __name__ == "__main__":
    main()
