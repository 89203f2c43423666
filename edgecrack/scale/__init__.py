"""How many millimetres of the wall a pixel shows, and how sure that is.

By a figure that the user gives, a calibrated camera and a distance, a marker of known size in view,
what a drone's photo says, or a map's ground sampling. Without one of these there are no
millimetres.
"""

from edgecrack.scale.quantity import Quantity, parse_quantity
from edgecrack.scale.scale import LocalScale, Scale, uniform_scale

__all__ = ["LocalScale", "Quantity", "Scale", "parse_quantity", "uniform_scale"]
