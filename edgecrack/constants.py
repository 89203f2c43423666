"""Defaults that the command line and the runtime share; imports nothing, so it costs nothing."""

from __future__ import annotations

MIN_AREA_PX = 60  # a crack fragment 3 px wide and 20 px long; specks are mostly smaller
OVERLAP_PX = 32
