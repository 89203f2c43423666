from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgecrack.errors import ConfigError
from edgecrack.runtime.recording.config import RecordingConfig, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1b", 1),
        ("500MB", 500_000_000),
        ("2 GB", 2_000_000_000),
        ("1.5kB", 1_500),
        ("500MiB", 500 * 1024**2),
        ("2gib", 2 * 1024**3),
        ("1TiB", 1024**4),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("600s", 600), ("10min", 600), ("1.5h", 5400), ("1 d", 86400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "500", "MB", "-1MB", "1e9B", "5 parsecs", "1MB 2", "\uff11MB", "9" * 400 + "MB"]
)
def test_no_size(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a size; give one such as"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["", "600", "10m", "-1s", "inf s", "nan"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a duration"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"path": Path("run.mp4")}, "'run.mp4'"),
        ({"path": Path("run")}, "ends in .mcap"),
        ({"part_bytes": 512}, "`part_bytes` is 512; give at least 64KiB"),
        ({"part_s": 0.0}, "`part_s` is 0.0; give at least 1 s"),
        ({"part_s": float("nan")}, "`part_s` is nan"),
        ({"when_full": "panic"}, "'panic'"),
        ({"reserve_bytes": -1}, "`reserve_bytes` is -1"),
        ({"flush_s": 0.0}, "`flush_s` is 0.0"),
        ({"flush_s": float("inf")}, "`flush_s` is inf"),
    ],
)
def test_refused_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RecordingConfig(**{"path": Path("run.mcap"), **settings})
    assert said in str(caught.value)


def test_the_suffix_may_be_written_large() -> None:
    assert RecordingConfig(Path("RUN.MCAP")).flush_s == 1.0
