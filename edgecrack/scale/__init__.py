"""Image scale in millimetres per pixel, with its uncertainty.

It comes from a value given by the user, a calibrated camera and a distance, a marker of known size,
a drone photo's metadata, or a map's ground sampling distance. Without one of these, results stay in
pixels.
"""

from edgecrack.scale.quantity import Quantity, parse_quantity
from edgecrack.scale.scale import LocalScale, Scale, uniform_scale

__all__ = ["LocalScale", "Quantity", "Scale", "parse_quantity", "uniform_scale"]
