"""Limits OpenVINO to an older processor's instructions; shared by benchmarks.

oneDNN inside OpenVINO obeys one environment variable, OpenVINO's own kernels another, in the
wheels of 2026.4.1 at least; both are read once, before the first model. `executed` says by the
names of the kernels whether it was so. ONNX Runtime obeys neither.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import Any

from edgecrack.artifacts import ModelFile
from edgecrack.runtime.backends.openvino_runner import import_openvino

ISAS = ("avx2", "avx2_vnni", "avx512_core", "avx512_core_vnni", "avx512_core_bf16")
_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "OV_CPU_MAX_ISA")


def limit_instructions(isa: str | None) -> None:
    """Hold OpenVINO to these instructions; to be called before it is first used."""
    for name in _VARIABLES if isa else ():
        os.environ[name] = str(isa).upper()


def executed(model: ModelFile, precision: str) -> dict[str, int]:
    """How many nodes ran by which kind of kernel, as "brgconv_avx2_f32"."""
    core = import_openvino().Core()
    graph = core.read_model(model.content)
    graph.reshape({"tiles": [1, 1, *model.spec.tile_hw]})
    options = {"INFERENCE_PRECISION_HINT": precision, "PERF_COUNT": "YES"}
    request = core.compile_model(graph, "CPU", options).create_infer_request()
    request.infer()
    rows = [each for each in request.profiling_info if each.status.name == "EXECUTED"]
    return dict(Counter(f"{each.node_type} {each.exec_type}" for each in rows))


def exceeding(kernels: dict[str, Any], isa: str | None) -> list[str]:
    """Kernels that a limit should have forbidden."""
    if isa is None or not isa.startswith("avx2"):
        return []
    return sorted(name for name in kernels if re.search("avx512", name))
