"""The words of reports in several languages, and figures as these write them."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml

from edgecrack.errors import ConfigError

_PACKAGE = "edgecrack.run_report"


def languages() -> list[str]:
    """Those that there are, by their codes."""
    folder = resources.files(_PACKAGE) / "words"
    return sorted(each.name[:-5] for each in folder.iterdir() if each.name.endswith(".yaml"))


class Words:
    """The words of one language.

        >>> words = Words("de")
        >>> words("crack"), words.number(1234.5, 1), words.millimetres(0.384)
        ('Riss', '1\u202f234,5', '0,38 mm')

    Args:
        language: its code, such as "en".

    Raises:
        ConfigError: there is none of that code.
    """

    def __init__(self, language: str) -> None:
        known = languages()
        if language not in known:
            raise ConfigError(
                f"there are no words in the language {language!r}", f"give {' or '.join(known)}"
            )
        file = resources.files(_PACKAGE) / "words" / f"{language}.yaml"
        self.language = language
        self._words: dict[str, str] = yaml.safe_load(file.read_text(encoding="utf-8"))
        self._comma = language != "en"

    def __call__(self, key: str, **given: Any) -> str:
        """A word or sentence, with what it is to hold."""
        text = self._words[key]
        return text.format(**given) if given else text

    @property
    def known(self) -> frozenset[str]:
        """All that it has words for."""
        return frozenset(self._words)

    def number(self, value: float, digits: int) -> str:
        """A number with thin spaces between thousands."""
        text = f"{value:,.{digits}f}".replace(",", "\u202f")
        return text.replace(".", ",") if self._comma else text

    def percent(self, share: float) -> str:
        """A share of 0 to 1."""
        return f"{self.number(100 * share, 0)}\u202f%"

    def millimetres(self, value: float) -> str:
        """A width."""
        return f"{self.number(value, 2)} mm"

    def length(self, millimetres: float) -> str:
        """A length: millimetres below a metre."""
        if abs(millimetres) >= 1000:
            return f"{self.number(millimetres / 1000, 2)} m"
        return f"{self.number(millimetres, 0)} mm"
