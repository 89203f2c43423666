"""HTTP MJPEG by edgecrack's reader and by FFmpeg's, on the same camera, alternately.

    python benchmarks/mjpeg_readers.py [--rounds 5]

A camera in a separate process (benchmarks/camera_server.py) sends 25 pictures a second and draws
the moment it makes each into it. Age of a frame when it is returned, and CPU time per frame that
is returned, for a reader that keeps up and for one that needs 150 ms a frame.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.camera_server import camera_server, stamped_ns  # noqa: E402
from benchmarks.machine import write_result  # noqa: E402
from edgecrack.runtime.sources.base import Source  # noqa: E402
from edgecrack.runtime.sources.ffmpeg import open_input  # noqa: E402
from edgecrack.runtime.sources.mjpeg import open_http  # noqa: E402
from edgecrack.runtime.sources.network_stream import StreamSource  # noqa: E402

FRAMES = 60
HW = (720, 1280)
WORK_S = {"keeps up": 0.0, "150 ms a frame": 0.15}


def open_by_ffmpeg(address: str) -> Source:
    container, said = open_input(address, {}, 5.0)
    return StreamSource(container, said, address)


READERS: dict[str, Callable[[str], Source]] = {"own": open_http, "FFmpeg": open_by_ffmpeg}


def read(open_: Callable[[str], Source], address: str, work_s: float) -> tuple[float, float]:
    """Median age in ms, and CPU time per frame in ms."""
    ages = []
    with open_(address) as source:
        started_s = time.process_time()
        for _ in range(FRAMES):
            frame = source.read()
            assert frame is not None
            ages.append((time.monotonic_ns() - stamped_ns(frame.image)) / 1e6)
            time.sleep(work_s)
        return statistics.median(ages), 1000 * (time.process_time() - started_s) / FRAMES


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    result = {}
    for name, work_s in WORK_S.items():
        rows: dict[str, list[tuple[float, float]]] = {reader: [] for reader in READERS}
        for _ in range(given.rounds):
            for reader, open_ in READERS.items():
                with camera_server(25, HW) as (address, _):
                    rows[reader].append(read(open_, address, work_s))
        result[name] = {
            reader: {
                "age_ms": round(statistics.median(age for age, _ in found), 1),
                "cpu_ms": round(statistics.median(cpu for _, cpu in found), 2),
            }
            for reader, found in rows.items()
        }
        print(name, result[name], flush=True)
    write_result("mjpeg_readers", result, "av", "opencv-python-headless")


if __name__ == "__main__":
    main()
