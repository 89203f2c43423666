"""Prints each installed distribution's size on disk: the figures of docs/dependencies.md.

Run it with the Python of the environment to be measured, e.g. `.venv/bin/python
tools/installed_sizes.py`. Counts the files that each distribution's own record lists, compiled
caches left out, so that the figures do not depend on what has been run.
"""

from __future__ import annotations

from importlib.metadata import Distribution, distributions
from pathlib import Path

MEGABYTE = 1_000_000


def size_mb(distribution: Distribution) -> float:
    """The size of a distribution's files in MB (10**6 bytes)."""
    listed = (Path(str(distribution.locate_file(file))) for file in distribution.files or ())
    present = (path for path in listed if path.suffix != ".pyc" and path.is_file())
    return sum(path.stat().st_size for path in present) / MEGABYTE


def main() -> None:
    """Print one line for each distribution, the largest first, and their sum."""
    found = {item.metadata["Name"]: (size_mb(item), item.version) for item in distributions()}
    for name, (megabytes, version) in sorted(found.items(), key=lambda row: -row[1][0]):
        print(f"{megabytes:9.1f} MB  {name} {version}")
    print(f"{sum(megabytes for megabytes, _ in found.values()):9.1f} MB  in all")


if __name__ == "__main__":
    main()
