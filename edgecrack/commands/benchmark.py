"""`edgecrack benchmark`: the speed of each model and backend on this machine."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from edgecrack.commands.shared_options import JsonOption, ThreadsOption, heading, results, say

_input, _measurement = map(heading, ("Input", "Measurement"))


def benchmark(
    models: Annotated[list[Path] | None, typer.Argument(metavar="MODELS...")] = None,
    source: Annotated[str, _input("URI")] = "demo",
    data: Annotated[Path | None, _input("DIR")] = None,
    frames: Annotated[int, _measurement("COUNT")] = 8,
    rounds: Annotated[int, _measurement("COUNT")] = 5,
    minutes: Annotated[float, _measurement("NUMBER")] = 0.0,
    mm_per_pixel: Annotated[float, _measurement("NUMBER")] = 0.5,
    out: Annotated[Path | None, results("FOLDER", "--out", "-o")] = None,
    json_output: JsonOption = False,
    threads: ThreadsOption = None,
) -> None:
    """Measure each model with each backend on this machine, from frame to crack map.

    All take turns, so that a busy moment affects all of them. The table shows the slowest and the
    fastest round, the time from process start to first result, and the memory.

    Args:
        models: ONNX files and engines; default: the bundled model.
        source: Source of the frames, as in `stream`; sets their size.
        data: Labelled images for scores; at most 40 are used.
        frames: Frames per round.
        rounds: Rounds; all models take turns.
        minutes: How long to run the fastest, to detect throttling.
        mm_per_pixel: Scale for the area per hour.
        out: Write benchmark.json and benchmark.png there.
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
            say("other programs keep this machine busy: figures will be too low and vary")
        found = run_benchmark(
            config,
            say,
            lambda moment: say(f"{moment.at_s:.0f} s: {moment.frames_per_s:.2f} frames/s"),
        )
        typer.echo(as_json(found) if json_output else table_text(found), nl=not json_output)
        if folder is not None:
            write_files(folder, found, say)
