"""Procedural inspected surfaces with exact crack masks: numpy and OpenCV only.

Serves training, the built-in demonstration source and the documentation's pictures.
Must not import torch.
"""

from __future__ import annotations

from edgecrack.synthetic.demo import DemoPath
from edgecrack.synthetic.surfaces import Surface
from edgecrack.synthetic.wall import Wall, WallConfig, generate_wall, write_dataset

__all__ = ["DemoPath", "Surface", "Wall", "WallConfig", "generate_wall", "write_dataset"]
