"""How strongly training patches are changed. What changes them is `training/augmentation.py`."""

from __future__ import annotations

from dataclasses import dataclass

from edgecrack.errors import ConfigError


@dataclass(frozen=True)
class AugmentConfig:
    """Strength of each change; the defaults change nothing (the paper used none).

    Attributes:
        geometry: mirror and turn by quarter turns.
        scale_range: a patch is cut `1/scale` times as large and resized; low <= 1 <= high.
        tone: largest change of contrast and brightness, as a share of the range, 0 to 0.9.
        blur_probability: share of patches that are blurred, 0..1.
        noise_levels: largest standard deviation of added noise, in gray levels, 0 to 64.
        invert_probability: share of patches whose tone is inverted, 0..1 (a lit crack).
        rotation_deg: largest free turn to either side, 0 to 180.
        motion_probability: share of patches that are blurred along a line, 0..1.
        motion_blur_px: longest such line, 0 to 31.
        gradient: largest change of brightness from the middle of a patch to its edge, 0 to 0.9.
        shadow_probability: share of patches with a broad shadow over a part of them, 0..1.
        bar_probability: share of patches with narrow straight shadows, as bars and cables cast
            them, 0..1. They look like cracks and are labelled as background.
        shadow_darkness: largest share of the light that a shadow takes away, 0 to 0.9.
        jpeg_probability: share of patches with the marks of JPEG compression, 0..1.
        jpeg_quality: lowest and highest quality of that, 1 to 100.
    """

    geometry: bool = False
    scale_range: tuple[float, float] = (1.0, 1.0)
    tone: float = 0.0
    blur_probability: float = 0.0
    noise_levels: float = 0.0
    invert_probability: float = 0.0
    rotation_deg: float = 0.0
    motion_probability: float = 0.0
    motion_blur_px: int = 7
    gradient: float = 0.0
    shadow_probability: float = 0.0
    bar_probability: float = 0.0
    shadow_darkness: float = 0.6
    jpeg_probability: float = 0.0
    jpeg_quality: tuple[int, int] = (20, 95)

    def __post_init__(self) -> None:
        low, high = self.scale_range
        if not 0.25 <= low <= 1 <= high <= 4:
            raise ConfigError(f"scale range is {low}..{high}", "give 0.25..1 and 1..4")
        for name, highest in _HIGHEST.items():
            if not 0 <= getattr(self, name) <= highest:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}", f"give a number from 0 to {highest}"
                )
        lowest, best = self.jpeg_quality
        if not 1 <= lowest <= best <= 100:
            raise ConfigError(f"JPEG quality is {lowest}..{best}", "give two numbers, 1 to 100")

    @property
    def resamples(self) -> bool:
        """Whether patches are resized or turned freely, so that pixels are interpolated."""
        return self.rotation_deg > 0 or self.scale_range[0] < self.scale_range[1]

    def largest_cut_px(self, side: int) -> int:
        """Side of the largest window that becomes a patch of `side` pixels."""
        return max(side, round(side / self.scale_range[0]))


_HIGHEST = {
    "tone": 0.9,
    "blur_probability": 1,
    "noise_levels": 64,
    "invert_probability": 1,
    "rotation_deg": 180,
    "motion_probability": 1,
    "motion_blur_px": 31,
    "gradient": 0.9,
    "shadow_probability": 1,
    "bar_probability": 1,
    "shadow_darkness": 0.9,
    "jpeg_probability": 1,
}

ROBOT_AUGMENT = AugmentConfig(
    geometry=True,
    scale_range=(0.6, 1.5),
    rotation_deg=45.0,
    tone=0.25,
    gradient=0.3,
    shadow_probability=0.15,
    bar_probability=0.15,
    blur_probability=0.2,
    motion_probability=0.1,
    noise_levels=10.0,
    jpeg_probability=0.25,
)
