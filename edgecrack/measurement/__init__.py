"""Crack centre lines, lengths and widths in pixels, measured on arrays."""

from edgecrack.measurement.cracks import Crack, measure_image
from edgecrack.measurement.fitness import Fitness, assess
from edgecrack.measurement.width import Width, estimate_width

__all__ = ["Crack", "Fitness", "Width", "assess", "estimate_width", "measure_image"]
