"""edgecrack and its alternatives: time, memory and how far the maps agree.

Each peer runs in a separate process, all on the same frames with the same number of threads, in
turn, several rounds; each round gives ratios over edgecrack as it comes, and their medians and
quartiles are reported. Timed is the way from a prepared frame to a crack map; decoding and
preprocessing are the same for all and left out. Peers come in an environment of their own
(`peers_environment.py`); one that does not install or run is a row with its last words.

    python benchmarks/peers.py [--rounds 5] [--frames 4] [--quick] [--only NAME ...]
        [--environment FOLDER] [--picture FILE] [--pip-args='--extra-index-url URL']
    python benchmarks/peers_tables.py --write      # the tables in docs/performance.md

Without the real data in EDGECRACK_DATA it takes frames of the generated demo.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.peers_environment import (  # noqa: E402
    Environment,
    default_folder,
    prepare_environment,
)
from benchmarks.peers_frames import SEAMLESS, read_facts  # noqa: E402
from benchmarks.peers_list import BASE, PEERS, SAME_RUNTIME  # noqa: E402
from benchmarks.peers_process import PeerFailedError, PeerProcess  # noqa: E402
from benchmarks.peers_tables import ratios, tables  # noqa: E402
from edgecrack.errors import ConfigError, EdgecrackError  # noqa: E402
from edgecrack.runtime.backends.onnx_runtime import default_threads  # noqa: E402

_PATIENCE_S = 900.0
# A peer that has answered still spins for a moment; the next one is to have the cores.
_PAUSE_S = 0.1

Row = dict[str, Any]
Seconds = dict[str, dict[str, list[float]]]  # by peer and scene, one a round


def make_files(environment: Environment, names: Sequence[str], work: Path) -> dict[str, str]:
    """Make what the peers need; of each file that could not be made, why."""
    failed = {}
    for name in sorted({SEAMLESS, *(PEERS[each].made for each in names)} - {""}):
        label = f"make-{name.partition('.')[0]}"
        with PeerProcess(environment.python, ["make", name, str(work)], work, label) as process:
            try:
                process.finish(_PATIENCE_S)
            except PeerFailedError as error:
                failed[name] = str(error)
    return failed


def start(
    environment: Environment,
    not_made: dict[str, str],
    names: Sequence[str],
    work: Path,
    threads: int,
    stack: ExitStack,
) -> tuple[dict[str, PeerProcess], dict[str, Row]]:
    """Start every peer and run each frame once; those that run, and the row of each."""
    rows: dict[str, Row] = {name: {"words": PEERS[name].words} for name in names}
    running: dict[str, PeerProcess] = {}
    for name in names:
        peer = PEERS[name]
        problem = environment.failed.get(peer.package) or not_made.get(peer.made)
        if problem:
            rows[name]["error"] = problem
            continue
        words = ["run", name, str(work), str(threads)]
        running[name] = stack.enter_context(PeerProcess(environment.python, words, work, name))
    # All import side by side, and then open one after the other.
    for name, process in list(running.items()):
        try:
            rows[name] |= process.hear(_PATIENCE_S)
        except PeerFailedError as error:
            rows[name]["error"] = str(error)
            del running[name]
    for name, process in list(running.items()):
        try:
            rows[name] |= process.ask(_PATIENCE_S, do="open")
            print(f"{name}: ready after {rows[name]['first_scene_s']} s", flush=True)
        except PeerFailedError as error:
            rows[name]["error"] = str(error)
            del running[name]
    return running, rows


def measure(
    running: dict[str, PeerProcess], rows: dict[str, Row], scenes: Sequence[str], rounds: int
) -> Seconds:
    """Seconds of every peer in every round; one that fails on the way is a row without figures."""
    seconds: Seconds = {name: {scene: [] for scene in scenes} for name in running}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        for scene in scenes:
            for name in turned(list(running), number):
                time.sleep(_PAUSE_S)
                try:
                    found = running[name].ask(_PATIENCE_S, do="run", scene=scene)
                except PeerFailedError as error:
                    rows[name]["error"] = str(error)
                    del running[name], seconds[name]
                    continue
                seconds[name][scene].append(found["seconds"])
                rows[name]["memory_at_end"] = found["memory"]
    return seconds


def turned(names: Sequence[str], number: int) -> list[str]:
    """The peers in the order of a round: each time another one is first."""
    first = number % len(names) if names else 0
    return [*names[first:], *names[:first]]


def summarise(rows: dict[str, Row], seconds: Seconds, frames: dict[str, int]) -> None:
    """Put ratios and frames/s into the rows of the peers that ran."""
    for name, row in rows.items():
        if "error" in row:
            row.pop("scenes", None)
            continue
        for scene, measured in row["scenes"].items():
            part = measured.pop("part")
            own = [each / part for each in seconds[name][scene]]
            if part < 1:
                measured["extrapolated"] = f"from {part:.3%} of each frame"
            measured["seconds_per_frame"] = [round(each / frames[scene], 4) for each in own]
            measured["frames_per_s"] = float(f"{frames[scene] / statistics.median(own):.4g}")
            measured["time"] = ratios(own, seconds[BASE][scene])
            if SAME_RUNTIME in seconds:
                base = seconds[SAME_RUNTIME][scene]
                measured["time_over_onnxruntime"] = ratios(own, base)


def chosen_names(only: Sequence[str]) -> list[str]:
    """The peers that were asked for, edgecrack as it comes always among them.

    Raises:
        ConfigError: a name is none.
    """
    for name in only:
        if name not in PEERS:
            raise ConfigError(f"the peer is {name!r}", f"give some of: {', '.join(PEERS)}")
    return [name for name in PEERS if not only or name in only or name == BASE]


def parsed() -> argparse.Namespace:
    data = Path(os.environ.get("EDGECRACK_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="at least 2")
    parser.add_argument("--frames", type=int, default=4, help="of the video")
    parser.add_argument("--quick", action="store_true", help="a rehearsal; writes no result")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--environment", type=Path, help="the folder of the peers' environment")
    parser.add_argument("--picture", type=Path, help="a large picture of your own")
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--pip-args", default="", help="further options of pip, in one word")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.frames = 2, 1
        if options.picture is None:  # a single photo where there are some, instead of four
            photos = sorted((options.data / "survey_frames").glob("*.jpg"))
            options.picture = photos[0] if photos else None
    if options.rounds < 2 or options.frames < 1:
        parser.error("give at least 2 rounds and 1 frame")
    return options


def run(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """The whole comparison, as the result's document."""
    names = chosen_names(options.only)
    folder = (options.environment or default_folder()).resolve()
    environment = prepare_environment(folder, shlex.split(options.pip_args))
    threads = default_threads()
    words = ["frames", str(work), str(options.data), str(options.frames), str(threads)]
    words += [str(options.picture)] if options.picture else []
    with PeerProcess(environment.python, words, work, "frames") as process:
        process.finish(_PATIENCE_S)
    facts = read_facts(work)
    not_made = make_files(environment, names, work)
    load = [os.getloadavg()[0]]
    with ExitStack() as stack:
        running, rows = start(environment, not_made, names, work, threads, stack)
        if BASE not in running:
            raise PeerFailedError(rows[BASE]["error"])
        seconds = measure(running, rows, list(facts["scenes"]), options.rounds)
        if BASE not in running:
            raise PeerFailedError(rows[BASE]["error"])
    load.append(os.getloadavg()[0])
    counts = {name: int(scene["frames"]) for name, scene in facts["scenes"].items()}
    summarise(rows, seconds, counts)
    versions: dict[str, str] = {}
    for row in rows.values():
        versions |= row.pop("versions", {})
    return {
        "rounds": options.rounds, "threads": threads, "load_average": load,
        "versions": dict(sorted(versions.items())), "not_made": not_made, **facts, "rows": rows,
    }  # fmt: skip


def main() -> None:
    options = parsed()
    with tempfile.TemporaryDirectory() as folder:
        try:
            document = run(options, Path(folder))
        except (EdgecrackError, PeerFailedError) as error:
            sys.exit(f"error: {error}")
    print(tables(document))
    if options.quick or options.only:
        print("a rehearsal, or some peers only: no result was written")
        return
    write_result("peers", document)


if __name__ == "__main__":
    main()
