"""Entry point of the `edgecrack` program, which handles signals before slow imports.

Importing the command line takes a good part of a second, in which Ctrl-C would show a traceback.
"""

from __future__ import annotations

import sys

from edgecrack.terminal.interruption import guard_start


def main() -> None:
    """Run the command line."""
    # On a cluster, SIGUSR1 makes Lightning requeue a training run.
    guard_start(keeps_user_signals="train" in sys.argv[1:2])
    from edgecrack.cli import main as run

    run()
