"""Defaults that the command line and the runtime share; cheap to import."""

from __future__ import annotations

MIN_AREA_PX = 60  # a crack fragment of 3 x 20 px; specks are mostly smaller
OVERLAP_PX = 32
