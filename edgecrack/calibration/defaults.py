"""Defaults that the command line shows; importing them costs nothing."""

from __future__ import annotations

# Of the four, the one that changes the output least on average; in scores they do not differ
# reliably (benchmarks/calibrators.py, docs/engines.md).
METHOD = "entropy"
MAX_DROP = 0.5  # points of ODS and of recall on thin cracks
TILES = 256
HELD_OUT_TILES = 192
