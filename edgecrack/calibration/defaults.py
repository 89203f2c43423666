"""Defaults that the command line shows; importing them costs nothing."""

from __future__ import annotations

# Of the four, the one whose worst drop on held-out tiles over three draws was least
# (benchmarks/calibrators.py, docs/engines.md).
METHOD = "entropy"
MAX_DROP = 0.5  # points of ODS and of recall on thin cracks
TILES = 256
HELD_OUT_TILES = 192
