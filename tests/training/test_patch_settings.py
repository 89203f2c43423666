"""What may be asked of training patches."""

from __future__ import annotations

from typing import Any

import pytest

from edgecrack.errors import ConfigError
from edgecrack.training.config import AugmentConfig, PatchConfig


def test_defaults_are_the_paper_s() -> None:
    assert PatchConfig() == PatchConfig(48, 0.6, AugmentConfig())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"patch_px": 7}, "`patch_px` is 7"),
        ({"patch_px": 50}, "`patch_px` is 50.*multiple of 8"),
        ({"patch_px": 0}, "`patch_px` is 0"),
        ({"patch_px": 1032}, "`patch_px` is 1032"),
        ({"crack_share": -0.1}, "`crack_share` is -0.1"),
        ({"crack_share": 1.5}, "`crack_share` is 1.5"),
        ({"crack_share": float("nan")}, "`crack_share` is nan"),
    ],
)
def test_bad_configurations(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PatchConfig(**values)
