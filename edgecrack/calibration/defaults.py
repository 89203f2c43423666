"""Defaults that the command line shows; cheap to import."""

from __future__ import annotations

from typing import Final

# Changes the output least on average; the four methods' scores do not differ reliably
# (benchmarks/calibrators.py, docs/engines.md).
METHOD: Final = "entropy"
# Largest drop of a score in points, at the upper confidence bound. With labels: ODS, strict F1 and
# recall on thin cracks. Without: agreement with FP32, and its recall.
MAX_DROP = 1.0
MAX_DISAGREEMENT = 1.0
# Noise of two gray levels makes FP32 itself differ by 1.5 to 3.9 points (docs/engines.md).
MAX_THIN_DISAGREEMENT = 5.0
MAX_FLAGGED = 0.05  # percent of the area without crack that INT8 may flag beyond FP32
TILES = 256
HELD_OUT_TILES = 192
MADE_FOR: Final = "tensorrt"
