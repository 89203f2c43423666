"""Generated surfaces with exact crack masks, for training, the built-in demo and the docs.

Needs numpy and OpenCV only.
"""

from __future__ import annotations

from edgecrack.synthetic.demo import DemoPath
from edgecrack.synthetic.surfaces import Surface
from edgecrack.synthetic.wall import Wall, WallConfig, generate_wall, write_dataset

__all__ = ["DemoPath", "Surface", "Wall", "WallConfig", "generate_wall", "write_dataset"]
