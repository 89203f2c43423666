"""Procedural inspected surfaces with exact crack masks: numpy and OpenCV only.

Serves training, the built-in demonstration source and the documentation's pictures.
Must not import torch.
"""

from __future__ import annotations

from edgecrack.data.synthetic.dataset import write_dataset
from edgecrack.data.synthetic.demo import DemoPath
from edgecrack.data.synthetic.surfaces import Surface
from edgecrack.data.synthetic.wall import Wall, WallConfig, generate_wall

__all__ = ["DemoPath", "Surface", "Wall", "WallConfig", "generate_wall", "write_dataset"]
