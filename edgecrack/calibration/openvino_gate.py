"""The same gate once more, on what OpenVINO makes of an INT8 file.

Quantized values sit on steps, and a rounding that another program does otherwise moves one to the
next step, so no two programs agree to the level. What OpenVINO gives is therefore judged as the
file itself was: by the labels, on the same held-out tiles.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgecrack.artifacts import ModelFile, ModelSpec
from edgecrack.calibration.gate import Gate, Verdict
from edgecrack.calibration.held_out import HeldOut
from edgecrack.errors import EdgecrackError
from edgecrack.runtime.backends.onnx_runtime import default_threads
from edgecrack.runtime.backends.openvino_runner import (
    OpenVINORunner,
    OpenVINOSettings,
    has_openvino,
)


@dataclass(frozen=True)
class OpenVINOVerdict:
    """What the gate says of an INT8 file that OpenVINO runs.

    Attributes:
        version: of OpenVINO.
        verdict: the gate's; None where OpenVINO cannot run the file.
        problem: why it cannot; "" where it can.
    """

    version: str
    verdict: Verdict | None
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether OpenVINO may run the file."""
        return self.verdict is not None and self.verdict.passed

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a sidecar."""
        return {
            "version": self.version,
            "passed": self.passed,
            "problem": self.problem,
            "gate": self.verdict and self.verdict.to_dict(),
        }

    def __str__(self) -> str:
        name = f"OpenVINO {self.version}"
        if self.verdict is None:
            return f"{name} cannot run it: {self.problem}"
        if self.passed:
            return f"{name} passes the same gate with it"
        exceeded = ", ".join(str(item) for item in self.verdict.judged if item.excess > 0)
        return f"{name} loses too much with it, and is not used for it: {exceeded}"


def judge_on_openvino(
    content: bytes, spec: ModelSpec, target: Path, held_out: HeldOut, gate: Gate, seed: int
) -> OpenVINOVerdict | None:
    """Run an INT8 file by OpenVINO on the tiles that judged it, and judge that.

    Args:
        content: the file's bytes.
        spec: its description.
        target: its path, for messages; need not exist yet.
        held_out: the tiles of the verdict that counted.
        gate: what may be lost.
        seed: draws the images of the bootstrap.

    Returns:
        The verdict; None where this machine has no OpenVINO.
    """
    if not has_openvino():
        return None
    model = ModelFile(target, replace(spec, sha256=hashlib.sha256(content).hexdigest()), content)
    threads = default_threads()
    settings = OpenVINOSettings("f32", threads, 1 if spec.batch is None else None)
    found = version("openvino")
    try:
        with OpenVINORunner(model, settings, threads=threads) as runner:
            output = runner.infer(held_out.tiles.pixels)[:, 0]
    except EdgecrackError as error:
        return OpenVINOVerdict(found, None, error.problem)
    return OpenVINOVerdict(found, held_out.judge(gate, output, seed))
