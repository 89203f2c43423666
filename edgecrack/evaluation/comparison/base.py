"""What a comparison of several models holds. Knows scores; must not know pages or files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgecrack.evaluation.model_groups import Group, Spread
from edgecrack.evaluation.paired import Comparison


@dataclass(frozen=True, eq=False)
class Pair:
    """The first group against another one.

    Attributes:
        groups: the two.
        comparison: their scores' differences.
        images: (name, mean F1 of the first, mean F1 of the second), by falling difference.
        pictures: file name and caption of the overlays where the first is better, and where worse.
    """

    groups: tuple[Group, Group]
    comparison: Comparison
    images: tuple[tuple[str, float, float], ...]
    pictures: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Compared:
    """All that a comparison's page shows.

    Attributes:
        title: one line.
        groups: in the order of the models that were given.
        summaries: for each group, mean and spread by quantity.
        pairs: the first group against each of the others.
    """

    title: str
    groups: tuple[Group, ...]
    summaries: tuple[Mapping[str, Spread], ...]
    pairs: tuple[Pair, ...]
