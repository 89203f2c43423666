"""Runs the command line as `python -m edgecrack`."""

from __future__ import annotations

from edgecrack.entry import main

if __name__ == "__main__":
    main()
