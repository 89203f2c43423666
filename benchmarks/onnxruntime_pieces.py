"""How to share the tiles of one frame between CPU threads: inside operators, or tile by tile.

The same tiles, the same number of threads: ONNX Runtime's threads share each operator (its
default), or each thread runs its own tiles, in pieces of one, two or four. Once alone, and once
beside a thread that works 12 ms of every 120, as decoding and recording do. The ways take turns,
and each is compared with the first in the same round.

    python benchmarks/onnxruntime_pieces.py [--rounds 25]
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.runtime.backends.onnx_runtime import default_threads  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402

# isort: split
import onnxruntime  # noqa: E402 - after edgecrack, which keeps it from sending usage data

_TILES = 8
_WORK_S, _REST_S = 0.012, 0.108


def session(threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        str(BUNDLED_MODEL), options, providers=["CPUExecutionProvider"]
    )


@contextmanager
def busy_neighbour(wanted: bool) -> Iterator[None]:
    stop = threading.Event()
    data = bytes(2**20)

    def work() -> None:
        while not stop.wait(_REST_S):
            until_s = time.thread_time() + _WORK_S
            while time.thread_time() < until_s:
                hashlib.sha1(data).digest()  # lets other threads run Python meanwhile

    thread = threading.Thread(target=work)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if wanted:
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    threads = default_threads()
    shared, own = session(threads), session(1)
    tiles = np.random.default_rng(0).integers(0, 256, (_TILES, 1, 256, 256), dtype=np.uint8)
    pool = ThreadPoolExecutor(threads)

    def share_operators() -> None:
        for first in range(0, _TILES, 4):
            shared.run(None, {"tiles": tiles[first : first + 4]})

    def take_pieces(size: int) -> None:
        jobs = [
            pool.submit(own.run, None, {"tiles": tiles[first : first + size]})
            for first in range(0, _TILES, size)
        ]
        for job in jobs:
            job.result()

    ways: dict[str, Callable[[], None]] = {
        "shared_operators": share_operators,
        "pieces_of_1": lambda: take_pieces(1),
        "pieces_of_2": lambda: take_pieces(2),
        "pieces_of_4": lambda: take_pieces(4),
    }
    figures: dict[str, object] = {"threads": threads, "tiles": _TILES, "rounds": rounds}
    for place, has_neighbour in (("alone", False), ("beside_a_busy_thread", True)):
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        with busy_neighbour(has_neighbour):
            for number in range(rounds + 1):
                for name, way in ways.items():
                    started_s = time.perf_counter()
                    way()
                    if number:  # the first round warms up
                        seconds[name].append(time.perf_counter() - started_s)
        base = seconds["shared_operators"]
        figures[f"{place}_ms"] = round(1000 * statistics.median(base), 1)
        for name, values in seconds.items():
            ratio = statistics.median(a / b for a, b in zip(base, values, strict=True))
            figures[f"{place}_speed_of_{name}"] = round(ratio, 3)
    pool.shutdown()
    write_result("onnxruntime_pieces", figures, "onnxruntime", "numpy")


if __name__ == "__main__":
    main()
