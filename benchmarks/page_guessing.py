"""How many tokens per second can be tried on a page without a lockout.

The right token is accepted at any time, so its length is what protects it; this is the speed to
expect. A page with a token is served from a separate process, on the loopback; guessers give
a wrong token per connection.

- waits: one guesser that reads each answer, which is held back after too many wrong tokens.
- hurries: guessers that take no answer within 5 ms for a wrong one and try the next.

While they hurry, the right token is given 20 times from the same address: how long it takes.

    python benchmarks/page_guessing.py [--seconds 10] [--guessers 32]
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402

_TOKEN = "correct-horse-battery"
_SERVE = f"""
import sys
from tests.runtime.web.rig import Rig
with Rig().server(token={_TOKEN!r}) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""
_IMPATIENCE_S = 0.005
_LONGEST_S = 30.0


def status(port: int, token: str, patience_s: float) -> int | None:
    """The answer's status; None where none came in time or the connection was dropped."""
    with contextlib.suppress(OSError), socket.socket() as raw:
        raw.settimeout(_LONGEST_S)
        raw.connect(("127.0.0.1", port))
        raw.settimeout(patience_s)
        raw.sendall(
            b"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %b\r\n\r\n"
            % (port, token.encode())
        )
        head = raw.recv(64)
        return int(head.split()[1]) if head else None
    return None


def guesses_per_s(port: int, guessers: int, seconds: float, patience_s: float) -> float:
    """Wrong tokens per second that `guessers` threads give."""
    counts = [0] * guessers
    end_s = time.monotonic() + seconds

    def guess(place: int) -> None:
        while time.monotonic() < end_s:
            status(port, f"guess-{place}-{counts[place]}", patience_s)
            counts[place] += 1

    threads = [threading.Thread(target=guess, args=(place,)) for place in range(guessers)]
    started_s = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - started_s)


def times_of_the_right_token_ms(port: int, into: list[float]) -> None:
    """How long each of 20 right tokens takes, tries that were dropped included."""
    for _ in range(20):
        started_s = time.monotonic()
        while status(port, _TOKEN, _LONGEST_S) != 200:
            pass
        into.append(1000 * (time.monotonic() - started_s))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--guessers", type=int, default=32)
    options = parser.parse_args()
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(server.stdout.readline())
        waits = guesses_per_s(port, 1, options.seconds, _LONGEST_S)
        right_ms: list[float] = []
        right = threading.Thread(target=times_of_the_right_token_ms, args=(port, right_ms))
        right.start()
        hurries = guesses_per_s(port, options.guessers, options.seconds, _IMPATIENCE_S)
        right.join()
        server.stdin.close()
    figures = {
        "seconds": options.seconds,
        "guessers": options.guessers,
        "waits_per_s": round(waits, 2),
        "hurries_per_s": round(hurries, 1),
        "right_token_ms_median": round(statistics.median(right_ms), 1),
        "right_token_ms_max": round(max(right_ms), 1),
    }
    write_result("page_guessing", figures, "uvicorn", "starlette", "h11")


if __name__ == "__main__":
    main()
