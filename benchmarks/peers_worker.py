"""One peer of `peers.py` in a separate process; or one file made for the peers.

    python benchmarks/peers_worker.py run PEER WORK THREADS    # answers lines of JSON
    python benchmarks/peers_worker.py make FILE WORK
    python benchmarks/peers_worker.py frames WORK DATA COUNT THREADS [PICTURE]

What libraries print goes to standard error, so that standard output holds the answers alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.peers_frames import (  # noqa: E402
    SEAMLESS,
    Frame,
    prepare_frames,
    read_facts,
    read_frames,
    write_seamless,
)
from benchmarks.peers_list import PEERS  # noqa: E402
from benchmarks.peers_runs import (  # noqa: E402
    CHECKPOINT,
    PAPER_MODEL,
    UNET_MODEL,
    OpenPeer,
    unet_shape,
)
from benchmarks.peers_tables import agreement  # noqa: E402
from edgecrack.data.patches import PAPER_PATCH_PX  # noqa: E402
from edgecrack.errors import first_line  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402

_PACKAGES = ("edgecrack", "numpy", "onnxruntime", "openvino", "torch", "monai")


def memory_mb(field: str) -> float | None:
    """A figure of this process's own, in MB of 10^6 bytes; None where the system reports none.

    Args:
        field: "VmRSS" for now, "VmHWM" for the most so far.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    for line in status.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None


def forget_peak() -> bool:
    """Reset the peak, so that importing does not count; returns whether that is allowed."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True


def loaded_versions() -> dict[str, str]:
    """Versions of the packages in this process."""
    found = {}
    for name in _PACKAGES:
        if name in sys.modules:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = "unknown"
    return found


class Answers:
    """One peer's answers to what `peers.py` asks."""

    def __init__(self, name: str, work: Path, threads: int) -> None:
        self._peer, self._work, self._threads = PEERS[name], work, threads
        self._frames = read_frames(work)
        self._level = int(str(read_facts(work)["level"]))
        self._peer.imports()
        self.peak_begins_anew = forget_peak()
        self._imports_mb = memory_mb("VmRSS")
        self._opened: OpenPeer | None = None

    def open(self) -> dict[str, Any]:
        """Open it and run each frame once, which returns its maps and its memory."""
        began = time.perf_counter()
        self._opened = opened = self._peer.open(self._work, self._threads)
        scenes: dict[str, Any] = {}
        for scene, frames in self._frames.items():
            scenes[scene] = self._first(opened, frames)
            if "first_s" not in scenes:
                scenes["first_s"] = round(time.perf_counter() - began, 2)
        first_s = scenes.pop("first_s")
        return {"first_scene_s": first_s, "scenes": scenes, "versions": loaded_versions()}

    def _first(self, opened: OpenPeer, frames: list[Frame]) -> dict[str, Any]:
        outputs = [opened.run(opened.ready(frame)) for frame in frames]
        memory = self._memory()  # before maps are compared, which is no part of the work
        parts = [opened.part(frame) for frame in frames]
        if min(parts) < 1:  # comparing takes as long again for each
            frames, outputs = frames[:1], outputs[:1]
        pairs = [opened.compared(frame, each) for frame, each in zip(frames, outputs, strict=True)]
        known = [pair for pair in pairs if pair is not None]
        found: dict[str, Any] = {"memory": memory, "part": sum(parts) / len(parts)}
        if known:
            theirs, ours = [list(each) for each in zip(*known, strict=True)]
            found["agreement"] = agreement(theirs, ours, self._level)
            shape = theirs[0].shape
            if shape != frames[0].prepared.shape:
                found["compared"] = f"{shape[1]}x{shape[0]} px of one frame, at its own size alone"
            seamless = [frame.seamless for frame in frames if frame.seamless is not None]
            if len(seamless) == len(theirs) and min(parts) == 1:
                found["agreement_without_seams"] = agreement(theirs, seamless, self._level)
        return found

    def _memory(self) -> dict[str, float | None]:
        peak = memory_mb("VmHWM")
        over = None
        if peak is not None and self._imports_mb is not None:
            over = round(peak - self._imports_mb, 1)
        return {"peak_mb": None if peak is None else round(peak, 1), "over_imports_mb": over}

    def run(self, scene: str) -> dict[str, Any]:
        """Seconds for all frames of a scene, or for the part of each that is run."""
        assert self._opened is not None
        given = [self._opened.ready(frame) for frame in self._frames[scene]]
        began = time.perf_counter()
        for each in given:
            self._opened.run(each)
        return {"seconds": time.perf_counter() - began, "memory": self._memory()}


def answer_to(answers: Answers, asked: dict[str, Any]) -> dict[str, Any]:
    if asked["do"] == "open":
        return answers.open()
    return answers.run(asked["scene"])


def serve(make: Callable[[], Answers], answers_to: TextIO) -> None:
    """Answer each line of standard input, until it ends."""

    def say(what: dict[str, Any]) -> None:
        answers_to.write(json.dumps(what) + "\n")
        answers_to.flush()

    try:
        answers = make()
        say({"peak_begins_anew": answers.peak_begins_anew})
        for line in sys.stdin:
            say(answer_to(answers, json.loads(line)))
    except Exception as error:  # whatever a peer raises is what its row says
        say({"error": f"{type(error).__name__}: {first_line(error)}"})
        raise


def make_file(name: str, work: Path) -> None:
    """Make one of the files that peers need."""
    if name == UNET_MODEL:
        for frames in read_frames(work).values():
            _export_unet(work, unet_shape(frames[0].prepared.shape))
        return
    from tools.checkpoint_from_onnx import convert

    if not (work / CHECKPOINT).exists():
        convert(BUNDLED_MODEL, work / CHECKPOINT)
    if name == SEAMLESS:
        from benchmarks.peers_runs import seamless_network

        write_seamless(work, seamless_network(work))
    if name == PAPER_MODEL:
        from edgecrack.export.graph import ExportConfig, export_checkpoint

        side = PAPER_PATCH_PX
        config = ExportConfig(tile_hw=(side, side), border="exact", scales=(1.0,))
        export_checkpoint(work / CHECKPOINT, work / PAPER_MODEL, config)


def _export_unet(work: Path, shape: tuple[int, int]) -> None:
    import torch

    from benchmarks.plain_unet import plain_unet
    from edgecrack.artifacts import INPUT_NAME, OUTPUT_NAME

    tiles = torch.zeros(1, 1, *shape, dtype=torch.uint8)
    with torch.no_grad():
        program = torch.onnx.export(
            plain_unet(), (tiles,), input_names=[INPUT_NAME], output_names=[OUTPUT_NAME],
            dynamo=True, optimize=True, verbose=False, external_data=False,
        )  # fmt: skip
    assert program is not None
    (work / UNET_MODEL.format(*shape)).write_bytes(program.model_proto.SerializeToString())


def main() -> None:
    # Whatever prints, prints to standard error from here on.
    answers_to = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    what, *given = sys.argv[1:]
    if what == "frames":
        work, data, count, threads, *picture = given
        chosen = Path(picture[0]) if picture else None
        prepare_frames(Path(work), Path(data), chosen, int(count), int(threads))
    elif what == "make":
        make_file(given[0], Path(given[1]))
    else:
        name, work, threads = given
        serve(lambda: Answers(name, Path(work), int(threads)), answers_to)


if __name__ == "__main__":
    main()
