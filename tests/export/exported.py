"""Exported graphs that several files of tests look at; one export takes seconds."""

from __future__ import annotations

from functools import lru_cache

import onnx

from edgecrack.artifacts import Pooling
from edgecrack.export.border import Border
from edgecrack.export.graph import ExportConfig, build_onnx
from edgecrack.export.lowering import network_with_border
from edgecrack.model.unet import CrackUNet
from tests.model.networks import lively_network

Case = tuple[Pooling, tuple[int, int], int | None, Border]
DYNAMIC: Case = ("gated-scale", (32, 48), None, "fused")
DYNAMIC_EXACT: Case = ("gated-scale", (32, 48), None, "exact")
FIXED: Case = ("gated-scale", (48, 24), 3, "exact")
STACKED: Case = ("stacked", (16, 64), 1, "exact")
MAX: Case = ("max", (40, 40), 2, "fused")


def network_of(case: Case) -> CrackUNet:
    """A random network as trained, whose outputs on tiles of the case's size are not saturated."""
    pooling, tile_hw, _, _ = case
    return lively_network(pooling, gate_bias=pooling == "gated-scale", tile_hw=tile_hw)


@lru_cache(maxsize=16)
def exported(case: Case) -> tuple[CrackUNet, onnx.ModelProto]:
    """What shall be computed, and its graph; whoever changes the graph takes a copy."""
    _, tile_hw, batch, border = case
    network = network_of(case)
    model = build_onnx(network, ExportConfig(tile_hw, batch, border=border))
    return network_with_border(network, border), model
