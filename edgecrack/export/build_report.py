"""What `edgecrack build-engine` prints."""

from __future__ import annotations

import shlex

from edgecrack.calibration.summary import SCORE_HEADS, gate_text, score_row
from edgecrack.export.build import BuildReport
from edgecrack.nvidia.engine_info import EngineInfo
from edgecrack.terminal.table import rows_text


def report_text(report: BuildReport) -> str:
    """The report as a person reads it: scores, then what lies where."""
    built = report.engine
    info = EngineInfo.from_dict(built.spec.engine)
    lines = []
    if report.scores:
        compared = any(item.name == "fp32" for item in report.scores)
        rows = [
            score_row(item.name.upper(), item.accuracy, compared=compared) for item in report.scores
        ]
        lines += [rows_text(SCORE_HEADS, rows), f"measured on: {report.data}", ""]
    gpus = ", ".join(f"SM{item.replace('.', '')}" for item in info.compute_capabilities)
    facts = [
        ("engine", f"{built.path} ({built.size_bytes / 1e6:.2f} MB)"),
        ("precision", f"{built.spec.precision.upper()}, verified from {_convolutions(report)}"),
        ("for", f"{gpus}; {info.flavour} {info.version}, {info.platform}"),
        ("tiles per call", "{} to {}, tuned for {}".format(*_batch(info))),
        ("built in", f"{built.seconds:.1f} s"),
        ("sidecar", f"{built.path}.json"),
        ("built from", str(report.onnx_file)),
    ]
    facts.append(("run here", _parity(report)))
    if built.spec.precision == "int8":
        kept = ", ".join(report.kept_fp16) or "none but those that always are"
        facts.append(("kept in FP16", kept))
        facts.append(("gate", gate_text(built.spec.calibration or {}).removeprefix("gate: ")))
    width = max(len(name) for name, _ in facts)
    lines += [f"{name.ljust(width)}  {value}" for name, value in facts]
    lines += [f"warning: {text}" for text in report.warnings]
    lines += ["the same with NVIDIA's tool:", f"  {built.command}"]
    where = "next" if report.parity else "next, where it is to run"
    command = shlex.join(["edgecrack", "stream", "--camera", "0", "--model", str(built.path)])
    lines.append(f"{where}: {command}")
    return "\n".join(lines)


def _batch(info: EngineInfo) -> tuple[int, int, int]:
    least, best, most = info.batch
    return least, most, best


def _convolutions(report: BuildReport) -> str:
    counts = report.engine.types.convolutions
    words = [f"{count} {name}" for name, count in counts.items()]
    text = f"the network: convolutions {', '.join(words)}"
    found = report.engine.engine_types
    if found:
        text += "; from the engine: outputs " + ", ".join(
            f"{n} {name}" for name, n in found.items()
        )
    return text


def _parity(report: BuildReport) -> str:
    found = report.parity
    if found is None:
        if report.not_run is not None and report.not_run.is_for_here:
            return "NO, though it is for this machine: see the warning"
        return f"no: {report.not_run or 'this machine cannot run it'}"
    return (
        f"yes: it differs from {report.onnx_file.name} in ONNX Runtime by "
        f"{found.mean_difference:.3f}/255 in the mean, {found.largest_difference}/255 at most"
    )
