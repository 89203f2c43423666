"""What the machine is ready for, told from the lines of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecrack.doctor.base import PYTHON
from edgecrack.doctor.check import Check
from edgecrack.doctor.engines import CUDA, RTX, TENSORRT
from edgecrack.doctor.libraries import MODEL, NUMPY, ONNX_RUNTIME, OPENCV, PYAV

STREAM = "stream"
STREAM_NEEDS = (PYTHON, NUMPY, OPENCV, PYAV, ONNX_RUNTIME, MODEL)


@dataclass(frozen=True)
class Readiness:
    """Whether the machine is ready for something.

    Attributes:
        name: "stream", "build_engines" or "run_engines".
        what: after "ready to", as in "stream on the CPU".
        missing: names of the lines that stand in the way; empty where it is ready.
    """

    name: str
    what: str
    missing: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.missing

    @property
    def sentence(self) -> str:
        """For people."""
        if self.ready:
            return f"ready to {self.what}"
        return f"not ready to {self.what}: missing {', '.join(self.missing)}"


def judge(
    checks: Sequence[Check], capabilities: Sequence[str], rtx_targets: Sequence[str]
) -> list[Readiness]:
    """What the machine is ready for.

    Args:
        checks: the lines of the report.
        capabilities: compute capabilities of the GPUs that can be used.
        rtx_targets: those that TensorRT for RTX builds for.
    """
    usable = {line.name for line in checks if line.usable}
    working = {line.name for line in checks if line.status == "ok"}
    gpu = ", ".join(dict.fromkeys(capabilities))
    lacking = tuple(name for name in STREAM_NEEDS if name not in usable)
    stream = Readiness(STREAM, "stream on the CPU", lacking)

    targets = []
    if TENSORRT in working and capabilities:
        targets.append(f"the GPU here ({gpu})")
    if RTX in usable:
        targets.append(f"RTX GPUs ({', '.join(rtx_targets)})")
    build = "build engines"
    if targets:
        building = Readiness("build_engines", f"{build} for {' and '.join(targets)}")
    else:
        alone = TENSORRT in working  # which, unlike the one for RTX, builds on its GPU only
        building = Readiness("build_engines", build, ("NVIDIA GPU",) if alone else (TENSORRT,))

    needs = {
        "NVIDIA GPU": bool(capabilities),
        TENSORRT: bool(working & {TENSORRT, RTX}),
        CUDA: CUDA in working,
    }
    absent = tuple(name for name, there in needs.items() if not there)
    return [stream, building, Readiness("run_engines", "run engines", absent)]
