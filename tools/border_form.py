"""Converts an FP32 ONNX file to the other form of the border ratio, without its checkpoint.

    python tools/border_form.py MODEL.onnx --border fused -o OTHER.onnx

`fused` omits the ratio on the two finest scales, `exact` restores it. No weight changes. The
sidecar names the file that it was made from and how far the two differ on generated walls.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from edgecrack.artifacts import ModelSpec, read_model_file, write_model
from edgecrack.export.border import BORDERS, border_difference, parse_border, with_border
from edgecrack.export.model_scores import labelled_tiles
from edgecrack.model_target import check_model_target
from edgecrack.onnx_graph.graph_file import OPSET, GraphRun, read_graph


def convert(model: Path, border: str, target: Path) -> ModelSpec:
    """Write `target` and its sidecar; `model` stays as it is.

    Raises:
        EdgecrackError: as for every command that reads and writes model files.
    """
    check_model_target(target, (".onnx",), [model])
    source = read_model_file(model)
    spec = source.spec
    graph = read_graph(source, "fp32")
    form = parse_border(border)
    serialised = with_border(graph, form).SerializeToString()
    extra: dict[str, Any] = {**spec.extra, "opset": OPSET, "border": form}
    for name in ("border_difference", "parity_levels"):  # of the other form
        extra.pop(name, None)
    if form == "fused":
        tiles, _ = labelled_tiles(None, spec, serialised)
        outputs = [
            GraphRun(item, spec.batch)(tiles.pixels)
            for item in (serialised, with_border(graph, "exact"))
        ]
        extra["border_difference"] = border_difference(*outputs).to_dict()
    changed = dataclasses.replace(spec, parent_sha256=spec.sha256, extra=extra)
    return write_model(target, serialised, changed)


def main() -> None:
    """Convert the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("--border", choices=BORDERS, required=True)
    parser.add_argument("--output", "-o", type=Path, required=True)
    given = parser.parse_args()
    spec = convert(given.model, given.border, given.output)
    print(f"wrote {given.output}, sha256 {spec.sha256}")


if __name__ == "__main__":
    main()
