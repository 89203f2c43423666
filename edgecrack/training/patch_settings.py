"""How training patches are drawn. What draws them is `training/patch_sampler.py`."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgecrack.errors import ConfigError
from edgecrack.training.augment_settings import AugmentConfig


@dataclass(frozen=True)
class PatchConfig:
    """How patches are drawn.

    Attributes:
        patch_px: side of a patch in pixels, a multiple of 8, 8 to 1024.
        crack_share: share of patches that contain at least one crack pixel, 0..1 (paper: 0.6).
        augment: what is changed on each patch.
    """

    patch_px: int = 48
    crack_share: float = 0.6
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if not 8 <= self.patch_px <= 1024 or self.patch_px % 8:
            raise ConfigError(f"patch size is {self.patch_px}", "give a multiple of 8, 8 to 1024")
        if not 0 <= self.crack_share <= 1:
            raise ConfigError(f"crack share is {self.crack_share}", "give a number from 0 to 1")
