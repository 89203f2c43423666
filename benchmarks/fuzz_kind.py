"""A kind of fuzzed input: valid examples, how to corrupt one and how to use it."""

from __future__ import annotations

import os
import random
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fuzz_mutations import MUTATORS, Mutator, mutate
from edgecrack.closeable import Closeable
from edgecrack.errors import EdgecrackError

ACCEPTED = "accepted"


class Kind(Closeable):
    """One kind of input.

    An input is bytes, whatever is made of them. The same generator gives the same input in every
    process, so examples hold no time of their making.

    Args:
        folder: an empty one, for files.

    Attributes:
        name: as in the summary.
    """

    name = ""
    mutators: Sequence[Mutator] = MUTATORS

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def examples(self) -> list[bytes]:
        """Valid inputs, made by the project's own writers; each must be accepted."""

    @abstractmethod
    def use(self, data: bytes) -> str:
        """Use an input as edgecrack does.

        Returns:
            `ACCEPTED`, or what it was refused with.

        Raises:
            Exception: a failure, but for the errors of `errors.py`, which are refusals.
        """

    def spoiled(self, rng: random.Random, examples: Sequence[bytes]) -> bytes:
        """A mutation of one of the examples."""
        return mutate(rng, rng.choice(examples), examples, self.mutators)

    def close(self) -> None:
        """Nothing to let go of."""


def refusal(error: EdgecrackError) -> str:
    """How an error of edgecrack's counts, by its exit code.

    Raises:
        AssertionError: it does not say what is wrong and what to do.
    """
    if not (error.problem.strip() and error.remedy.strip()):
        raise AssertionError(f"an error without problem or remedy: {error!r}") from error
    return f"exit {error.exit_code}"


def input_of(kind: Kind, examples: Sequence[bytes], seed: int, number: int) -> bytes:
    """The input of a number; the same in every process and on every machine."""
    return kind.spoiled(random.Random(f"{seed}/{kind.name}/{number}"), examples)


def quiet_environment(folder: Path) -> dict[str, str]:
    """An environment in which nothing of the user's own is read or written.

    Two arenas of memory, since each new thread's own would count as address space.
    """
    home = str(folder)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("EDGECRACK_")},
        "HOME": home,
        "TMPDIR": home,
        "XDG_DATA_HOME": home,
        "XDG_CACHE_HOME": home,
        "XDG_CONFIG_HOME": home,
        "EDGECRACK_MODELS": str(folder / "models"),
        "MALLOC_ARENA_MAX": "2",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "no_proxy": "*",
    }
