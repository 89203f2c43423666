"""`edgecrack benchmark`: how fast this machine finds cracks.

Parses, calls and prints; every import that costs time stands inside the command.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from edgecrack.commands.shared_options import ThreadsOption, heading, results

_input, _accuracy = map(heading, ("Input", "Measurement"))


def benchmark(
    models: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="MODELS...", help="ONNX files and engines; default: the bundled one."
        ),
    ] = None,
    source: Annotated[
        str, _input("URI", "Whence frames come, as in `stream`, so that they have its size.")
    ] = "demo",
    data: Annotated[
        Path | None, _input("DIR", "Labelled images, at most 40 of them, for scores.")
    ] = None,
    frames: Annotated[int, _accuracy("COUNT", "Frames in a round.")] = 8,
    rounds: Annotated[int, _accuracy("COUNT", "Rounds, in which all take turns.")] = 5,
    minutes: Annotated[
        float,
        _accuracy("NUMBER", "How long to run the fastest, to see whether it keeps its speed."),
    ] = 0.0,
    mm_per_pixel: Annotated[float, _accuracy("NUMBER", "By which areas per hour are told.")] = 0.5,
    out: Annotated[
        Path | None,
        results("FOLDER", "Write benchmark.json and benchmark.png there.", "--out", "-o"),
    ] = None,
    json_output: Annotated[
        bool, results("", "Print the result as JSON, and nothing else.", "--json")
    ] = False,
    threads: ThreadsOption = None,
) -> None:
    """Measure each model with each backend on this machine, from frame to crack map.

    All take turns, so that a busy moment strikes all of them; the table has the slowest and the
    fastest round, the time until a new process has its first result, and its memory.
    """
    from edgecrack.machine_benchmark.benchmark_files import (
        benchmark_folder,
        table_text,
        write_files,
    )
    from edgecrack.machine_benchmark.benchmark_run import (
        BenchmarkConfig,
        as_json,
        is_noisy,
        run_benchmark,
    )

    config = BenchmarkConfig(
        tuple(models or ()), source, data, frames, rounds, minutes, mm_per_pixel, threads
    )
    with nullcontext() if out is None else benchmark_folder(out) as folder:
        if is_noisy():
            _tell("other programs keep this machine busy: the figures will be too low and uneven")
        found = run_benchmark(
            config,
            _tell,
            lambda moment: _tell(f"{moment.at_s:.0f} s: {moment.frames_per_s:.2f} frames/s"),
        )
        typer.echo(as_json(found) if json_output else table_text(found), nl=not json_output)
        if folder is not None:
            write_files(folder, found, _tell)


def _tell(text: str) -> None:
    print(f"edgecrack: {text}", file=sys.stderr, flush=True)
