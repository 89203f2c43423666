"""What the processes of `test_launch.py` do; a module of its own, so that they can import it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from edgecrack.errors import DataError
from edgecrack.training.config import TrainingConfig
from edgecrack.training.processes import ProcessRank


def fail_in_the_second(
    config: TrainingConfig, place: ProcessRank, tell: Callable[[str], None]
) -> TrainingConfig:
    """The first tells its number and waits for ever; the second fails once the first is there."""
    if place.is_main:
        tell(str(os.getpid()))
        (config.out / "there").touch()
        time.sleep(3600)
    while not (config.out / "there").exists():
        time.sleep(0.02)
    raise DataError("mask 7 is torn", "mend it")
