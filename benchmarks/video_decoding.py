"""What reading videos and RTSP costs, against another checkout of the project in the same run.

    git worktree add /tmp/before COMMIT
    python benchmarks/video_decoding.py --before /tmp/before --data DATA

Each measurement is a child process that reads with one of the two trees; the trees take turns.
Figures: CPU time per frame, time from the start of Python to the first frame, resident memory after
200 and 2,000 frames, and of a real RTSP camera the time to the first frame, the age of frames for a
reader that keeps up and for one that does not, and how long a lost camera takes to be read again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from tests.runtime.rtsp import RtspServer  # noqa: E402

CHILD = r"""
import json, os, resource, sys, time
started = time.perf_counter()
sys.path[:0] = [sys.argv[1], sys.argv[2]]
what, address, count = sys.argv[3], sys.argv[4], int(sys.argv[5])
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources.options import SourceOptions
imported = time.perf_counter()
def rss_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
options = SourceOptions(timeout_ms=10_000)
source = open_source(address, options)
first = source.read()
opened = time.perf_counter()
out = {"first_s": opened - started, "open_s": opened - imported}
if what == "file":
    cpu, read = time.process_time(), 0
    while source.read() is not None:
        read += 1
    out["cpu_ms"] = 1000 * (time.process_time() - cpu) / read
    out["wall_ms"] = 1000 * (time.perf_counter() - opened) / read
elif what == "memory":
    read, early = 1, 0.0
    while read < count:
        frame = source.read()
        if frame is None:
            source.close()
            source = open_source(address, options)
            continue
        read += 1
        if read == 200:
            early = rss_mb()
    out["mb_200"], out["mb_end"] = early, rss_mb()
else:
    from tests.runtime.rtsp import BITS, read_numbers
    pause_s = 0.2 if what == "slow" else 0.0
    ages = []
    for _ in range(count):
        frame = source.read()  # its age is that at which it is returned
        made_ms = read_numbers(frame.image)[1]
        ages.append((time.monotonic_ns() // 1_000_000 - made_ms) % (1 << BITS))
        time.sleep(pause_s)
    ages.sort()
    out["age_ms"] = ages[len(ages) // 2]
    out["age_p95_ms"] = ages[int(0.95 * len(ages))]
source.close()
print(json.dumps(out), flush=True)
os._exit(0)
"""


def measure(tree: Path, what: str, address: str, count: int = 0) -> dict[str, float]:
    """One child's figures."""
    command = [sys.executable, "-c", CHILD, str(tree), str(ROOT), what, address, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def in_turn(
    trees: dict[str, Path], rounds: int, what: str, address: str, count: int = 0
) -> dict[str, Any]:
    """Medians of each tree, and the ratio of the second to the first, by pairs."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in trees}
    for _ in range(rounds):
        for name, tree in trees.items():
            rows[name].append(measure(tree, what, address, count))
    before, now = rows.values()
    result: dict[str, Any] = {}
    for key in before[0]:
        ratios = [b[key] / max(a[key], 1e-9) for a, b in zip(before, now, strict=True)]
        result[key] = {
            "before": round(statistics.median(row[key] for row in before), 3),
            "now": round(statistics.median(row[key] for row in now), 3),
            "ratio": round(statistics.median(ratios), 3),
        }
    return result


def reconnect(trees: dict[str, Path], rounds: int) -> dict[str, Any]:
    """Seconds from a camera's return until `edgecrack`'s reconnecting source reads it again."""
    script = CHILD.split("options =")[0] + RECONNECT
    found: dict[str, list[float]] = {name: [] for name in trees}
    for _ in range(rounds):
        for name, tree in trees.items():
            with RtspServer(rate_hz=25) as server:
                server.start(640, 480)
                command = [sys.executable, "-c", script, str(tree), str(ROOT), "x", server.url, "0"]
                with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
                    assert child.stdout is not None
                    assert child.stdout.readline().startswith("reading")
                    server.stop()
                    assert child.stdout.readline().startswith("lost")
                    time.sleep(2)
                    server.start(640, 480)
                    began_s = time.monotonic()
                    assert child.stdout.readline().startswith("back")
                    found[name].append(time.monotonic() - began_s)
                    child.kill()
    before, now = (statistics.median(one) for one in found.values())
    return {"back_s": {"before": round(before, 2), "now": round(now, 2)}}


RECONNECT = r"""
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.sources.open import open_live_source
from edgecrack.runtime.sources.reconnect_policy import ReconnectPolicy
source = open_live_source(address, SourceOptions(timeout_ms=3000), ReconnectPolicy(), EventLog())
with source as camera:
    camera.read()
    print("reading", flush=True)
    while camera.health.state == "live":
        import threading
        reader = threading.Thread(target=camera.read, daemon=True)
        reader.start()
        while reader.is_alive() and camera.health.state == "live":
            time.sleep(0.01)
    print("lost", flush=True)
    reader.join()
    print("back", flush=True)
    time.sleep(60)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="another checkout")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    trees = {"before": given.before.resolve(), "now": ROOT}
    wall = str(given.data.resolve() / "video" / "wall_robot.mp4")
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, options in (
            ("full-hd-h264.mp4", ["-vf", "scale=1920:1080", "-c:v", "libx264", "-crf", "23"]),
            ("full-hd-hevc.mp4", ["-vf", "scale=1920:1080", "-c:v", "libx265", "-crf", "26"]),
            ("mjpeg.avi", ["-c:v", "mjpeg", "-q:v", "4"]),
        ):
            made = f"{folder}/{name}"
            subprocess.run(
                ["ffmpeg", "-v", "error", "-y", "-i", wall, "-frames:v", "120", *options, made],
                check=True,
                capture_output=True,
            )
            result[name] = in_turn(trees, given.rounds, "file", made)
            print(name, json.dumps(result[name]))
        result["wall_robot.mp4"] = in_turn(trees, given.rounds, "file", wall)
        print("wall", json.dumps(result["wall_robot.mp4"]))
        result["memory, 2000 frames"] = in_turn(trees, 1, "memory", wall, 2000)
        print("memory", json.dumps(result["memory, 2000 frames"]))
    with RtspServer(rate_hz=25) as server:
        server.start(640, 480)
        for what, count in (("fast", 100), ("slow", 30)):
            result[f"rtsp, {what} reader"] = in_turn(trees, given.rounds, what, server.url, count)
            print(what, json.dumps(result[f"rtsp, {what} reader"]))
    result["rtsp, camera away for 2 s"] = reconnect(trees, min(3, given.rounds))
    print(json.dumps(result["rtsp, camera away for 2 s"]))
    write_result("video_decoding", result, "av", "opencv-python-headless")


if __name__ == "__main__":
    main()
