"""The first lines of the `edgecrack` program: signals are answered before anything is imported.

What is imported by the command line takes a good part of a second, in which Ctrl-C would show a
traceback. So this imports next to nothing at its top.
"""

from __future__ import annotations

import sys

from edgecrack.terminal.interruption import guard_start


def main() -> None:
    """Run the command line."""
    # Lightning has a training run queued again by SIGUSR1, where a cluster sends that.
    guard_start(keeps_user_signals="train" in sys.argv[1:2])
    from edgecrack.cli import main as run

    run()
