"""What a crack measures: centre lines, lengths and widths, in pixels.

Knows arrays only, no frames or files.
"""

from edgecrack.measurement.cracks import Crack, measure_image
from edgecrack.measurement.fitness import Fitness, assess
from edgecrack.measurement.width import Width, estimate_width

__all__ = ["Crack", "Fitness", "Width", "assess", "estimate_width", "measure_image"]
