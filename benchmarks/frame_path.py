"""The path of a frame through `stream`: files, threads, and queue transfers between them.

    python benchmarks/frame_path.py                      # this checkout
    python benchmarks/frame_path.py ../before --demo     # another one; the demo instead of a camera

An HTTP camera is streamed twice with the default outputs, the second time for 40 frames more. A
file is on the path where at least one of its functions is called in each of these frames, by a
thread that the frame itself passes through. Threads beside the path, which follow
cracks or watch the clock, are listed apart, with the files that only they use. A hand-over is a
`Handoff`, or whatever the module of that name holds, into which each frame is put.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.camera_server import camera_server  # noqa: E402

FEW, MORE = 30, 40
_BESIDE = ("-watch", "-throttle", "-track")

Counts = dict[str, list[list[object]]]

# Runs the command with every call counted: by thread and file, and the puts into queue transfers.
_COUNTING = """
import json, runpy, sys, threading
from collections import Counter
root, target = sys.argv[1], sys.argv[2]
counts = Counter()
puts = Counter()
lock = threading.Lock()
def count(frame, event, argument):
    if event == "call" and frame.f_code.co_filename.startswith(root):
        code = frame.f_code
        with lock:
            counts[threading.current_thread().name, code.co_filename[len(root):], code.co_name] += 1
            if code.co_name == "put" and code.co_filename.endswith("handoff.py"):
                puts[f"{code.co_filename[len(root):]} {id(frame.f_locals['self'])}"] += 1
sys.argv = ["edgecrack", *sys.argv[3:]]
threading.setprofile(count)
sys.setprofile(count)
try:
    runpy.run_module("edgecrack", run_name="__main__", alter_sys=True)
finally:
    sys.setprofile(None)
    threading.setprofile(None)
    with open(target, "w") as file:
        json.dump({"calls": [[*key, value] for key, value in counts.items()],
                   "puts": sorted(puts.values())}, file)
"""


def counted(checkout: Path, source: str, frames: int, folder: Path) -> Counts:
    """Calls of one run, by thread, file and function; and puts into each hand-over."""
    target = folder / f"calls-{frames}.json"
    words = ["stream", "--source", source, "--out", str(folder / str(frames))]
    words += ["--max-frames", str(frames)]
    subprocess.run(
        [sys.executable, "-c", _COUNTING, f"{checkout}/edgecrack/", str(target), *words],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=checkout,
        check=True,
        capture_output=True,
    )
    found: Counts = json.loads(target.read_text())
    return found


def path_of(few: Counts, more: Counts) -> None:
    """Print what every one of the further frames passed through."""
    before = {tuple(call[:3]): int(str(call[3])) for call in few["calls"]}
    every_frame = [
        tuple(str(part) for part in call[:3])
        for call in more["calls"]
        if int(str(call[3])) - before.get(tuple(call[:3]), 0) >= MORE * 0.9
    ]
    threads = {thread for thread, _, _ in every_frame}
    on_path = {thread for thread in threads if not thread.endswith(_BESIDE)}
    files = {file for thread, file, _ in every_frame if thread in on_path}
    for file in sorted(files):
        through = {thread for thread, other, _ in every_frame if other == file} & on_path
        print(f"  {file}: {', '.join(sorted(through))}")
    only_beside = {file for _, file, _ in every_frame} - files
    handovers = [puts for puts in more["puts"] if int(str(puts)) >= FEW + MORE - 5]
    print(f"files {len(files)}, queue transfers {len(handovers)}, threads {len(on_path)}")
    print(f"beside the path: {len(only_beside)} files, {', '.join(sorted(threads - on_path))}")


def main() -> None:
    """Measure one checkout."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkout", type=Path, nargs="?", default=ROOT)
    parser.add_argument("--demo", action="store_true", help="the demo instead of a camera")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, camera_server(4, (480, 640)) as (address, _):
        source = "demo" if options.demo else address
        few, more = (
            counted(options.checkout.resolve(), source, frames, Path(name))
            for frames in (FEW, FEW + MORE)
        )
    path_of(few, more)


if __name__ == "__main__":
    main()
