"""Starts a peer's process (`peers_worker.py`), queries it and reports why it failed."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.peers_tables import last_line

_WORKER = Path(__file__).resolve().parent / "peers_worker.py"
_ROOT = _WORKER.parents[1]


class PeerFailedError(Exception):
    """A peer failed, ended, or did not answer; the message is what it said."""


class PeerProcess:
    """One peer's process, from its start to its end; a context manager.

    Args:
        python: the Python that has what the peer needs.
        words: the arguments of `peers_worker.py`.
        work: the folder of this run, for what it says and what its libraries keep.
        name: what to call its log.
    """

    def __init__(self, python: Path, words: Sequence[str], work: Path, name: str) -> None:
        self._log = work / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python), str(_WORKER), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=_ROOT,
                env=environment_of(work),
            )
        self._buffer = b""

    def hear(self, patience_s: float) -> dict[str, Any]:
        """The next answer.

        Raises:
            PeerFailedError: the peer failed, its process ended, or it said nothing in time.
        """
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(patience_s):
                    self._process.kill()
                    raise PeerFailedError(f"no answer within {patience_s:g} s")
                piece = os.read(self._process.stdout.fileno(), 1 << 16)
                if not piece:
                    raise PeerFailedError(self._last_words())
                self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise PeerFailedError(found["error"])
        return found

    def ask(self, patience_s: float, **what: str) -> dict[str, Any]:
        """Ask and hear the answer.

        Raises:
            PeerFailedError: as `hear`.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerFailedError(self._last_words()) from None
        return self.hear(patience_s)

    def finish(self, patience_s: float) -> None:
        """Wait for a process that is asked nothing.

        Raises:
            PeerFailedError: it failed, or did not end in time.
        """
        try:
            code = self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise PeerFailedError(f"not done within {patience_s:g} s") from None
        if code:
            raise PeerFailedError(self._last_words())

    def _last_words(self) -> str:
        code = self._process.wait()
        said = last_line(self._log.read_text(encoding="utf-8", errors="replace"))
        return said or f"it ended with code {code} and said nothing"

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def environment_of(work: Path) -> dict[str, str]:
    """What a peer's process sees: this checkout, and caches that are empty when a run begins.

    So a self-test or a compilation of another day cannot make one peer look better.
    """
    kept = {name: value for name, value in os.environ.items() if name != "EDGECRACK_BACKEND"}
    return {
        **kept,
        "PYTHONPATH": str(_ROOT),
        "XDG_CACHE_HOME": str(work / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor"),
    }
