"""Table, files and plot of a benchmark."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgecrack.errors import MissingDependencyError, OutputError
from edgecrack.extras import require
from edgecrack.files import write_atomic
from edgecrack.machine_benchmark.benchmark_run import Benchmarked, as_json
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.terminal.table import rows_text

_HEADS = (
    "model", "runs on", "p50 ms", "p95 ms", "p99 ms", "frames/s", "Mpx/s", "m2/h", "first s",
    "memory MB", "file MB", "F1", "strict",
)  # fmt: skip
_NONE = "-"
BENCHMARK_NAMES = ("benchmark.json", "benchmark.png")


@contextmanager
def benchmark_folder(out: Path) -> Iterator[OutputFolder]:
    """A locked folder that is empty or contains an earlier benchmark.

    The earlier files stay until `write_files`.

    Raises:
        OutputError: it cannot be written, or contains other files in the way.
    """
    folder = OutputFolder(out)
    try:
        if folder.lock() == "busy":
            raise OutputError(
                f"another run writes into {out}", "give another folder, or end that run"
            )
        folder.refuse_foreign(BENCHMARK_NAMES)
        others = {str(file.relative_to(out)) for file in folder.results()} - {*BENCHMARK_NAMES}
        if others or folder.notes():
            some = ", ".join(sorted(others)[:3]) or "what a run noted of itself"
            raise OutputError(
                f"{out} holds the results of another command: {some}", "give another folder"
            )
        yield folder
    finally:
        folder.discard()


def write_files(
    folder: OutputFolder, found: Benchmarked, on_told: Callable[[str], None] = lambda text: None
) -> None:
    """Write a benchmark's files, replacing earlier ones.

    Args:
        folder: of `benchmark_folder`.
        found: the benchmark.
        on_told: called with the reason if there is no plot.

    Raises:
        OutputError: a file cannot be written.
    """
    folder.clear()
    write_atomic(folder.claim(BENCHMARK_NAMES[0]), as_json(found))
    try:
        plot = plot_png(found)
    except MissingDependencyError as error:
        on_told(f"no plot: {error}")
        return
    write_atomic(folder.claim(BENCHMARK_NAMES[1]), plot)


def table_text(found: Benchmarked) -> str:
    """The results as a table, the fastest first."""
    listed = found.document["rows"]
    has_scores = any("strict_f1" in row for row in listed)
    heads = _HEADS if has_scores else _HEADS[:-2]
    rows = [_row(row)[: len(heads)] for row in listed if not row["problem"]]
    lines = [rows_text(heads, rows)]
    lines += [f"{row['model']}, {row['backend']}: {row['problem']}"
              for row in listed if row["problem"]]  # fmt: skip
    if (long := found.document["sustained"]) is not None:
        lines.append(_sustained_text(long))
    scale = found.document["mm_per_pixel"]
    lines.append(f"m2/h at {scale:g} mm per pixel, each frame showing half of the one before")
    options = found.best.candidate.options(found.document["threads_asked"])
    lines.append(f"edgecrack stream --camera 0 {options}".rstrip())
    return "\n".join(lines)


def _row(row: Mapping[str, Any]) -> list[str]:
    def number(name: str, digits: int) -> str:
        value = row.get(name)
        return _NONE if value is None else f"{value:.{digits}f}"

    model = row["model"].rpartition("/")[2]
    slowest, fastest = number("frames_per_s_slowest", 2), number("frames_per_s_fastest", 2)
    rate = f"{number('frames_per_s', 2)} ({slowest} to {fastest})"
    return [
        f"{model} ({row['precision']})", row["runs_on"], number("p50_ms", 0), number("p95_ms", 0),
        number("p99_ms", 0), rate, number("megapixels_per_s", 2),
        number("square_metres_per_hour", 0), number("first_result_s", 2),
        number("peak_memory_mb", 0), number("size_mb", 1), number("f1_within_2px", 3),
        number("strict_f1", 3),
    ]  # fmt: skip


def _sustained_text(long: Mapping[str, Any]) -> str:
    share = long["kept_share"]
    kept = "throttled: it kept" if long["throttled"] else "it kept"
    text = (
        f"over {long['minutes']:g} minutes {long['frames_per_s']:.2f} frames/s, "
        f"{long['square_metres_per_hour']:.0f} m2/h; {kept} {share:.0%} of its first speed"
    )
    moments = long["moments"]
    for name, word, unit in (
        ("clock_mhz", "clock", "MHz"),
        ("temperature_c", "temperature", "°C"),
        ("power_w", "power", "W"),
    ):
        known = [each[name] for each in moments if each[name] is not None]
        if known:
            text += f"; {word} {known[0]:.0f} to {known[-1]:.0f} {unit}"
        else:
            text += f"; {word} not told by this machine"
    return text


def plot_png(found: Benchmarked) -> bytes:
    """Accuracy against speed if there are scores, else speed alone.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require("matplotlib", extra="measure", purpose="the plot of a benchmark")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in found.document["rows"] if not row["problem"]]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    has_scores = all("strict_f1" in row for row in rows)
    for place, row in enumerate(rows):
        rate = row["frames_per_s"]
        ends = [[rate - row["frames_per_s_slowest"]], [row["frames_per_s_fastest"] - rate]]
        height = row["strict_f1"] if has_scores else -place
        axes.errorbar(rate, height, xerr=ends, fmt="o", capsize=3)
        name = f"{row['model'].rpartition('/')[2]}, {row['runs_on']}"
        axes.annotate(name, (rate, height), xytext=(6, 6), textcoords="offset points", fontsize=8)
    axes.set_xlabel("frames/s, slowest to fastest round")
    axes.set_ylabel("strict F1" if has_scores else "")
    axes.set_xlim(left=0, right=1.5 * max(row["frames_per_s_fastest"] for row in rows))
    if not has_scores:
        axes.set_yticks([])
        axes.set_ylim(-len(rows), 1)
    axes.spines[["top", "right"]].set_visible(False)
    data = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(data, format="png", dpi=120, metadata={"Software": None})
    return data.getvalue()
