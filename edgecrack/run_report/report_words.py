"""The words of reports in several languages, and figures as these write them, metric or imperial.

Inches and feet are those of 1959: 25.4 mm and 304.8 mm.
"""

from __future__ import annotations

from datetime import datetime
from importlib import resources
from typing import Any

from edgecrack.errors import ConfigError
from edgecrack.outside_text import parse_yaml

_PACKAGE = "edgecrack.run_report"
UNITS = ("metric", "imperial")
MM_PER_INCH = 25.4
_MM_PER_FOOT = 12 * MM_PER_INCH
_MM_PER_M = 1000.0
_LEAST_SHARE = 0.005


def languages() -> list[str]:
    """The codes of the available languages."""
    folder = resources.files(_PACKAGE) / "words"
    return sorted(each.name[:-5] for each in folder.iterdir() if each.name.endswith(".yaml"))


class Words:
    """The words of one language.

        >>> words = Words("de")
        >>> words("crack"), words.number(1234.5, 1), words.width(0.384)
        ('Riss', '1\u202f234,5', '0,38 mm')
        >>> Words("en", "imperial").width(0.384)
        '0.015 in'

    Args:
        language: its code, such as "en".
        units: "metric" or "imperial".

    Raises:
        ConfigError: there are no words in that language, or no such units.
    """

    def __init__(self, language: str, units: str = "metric") -> None:
        if units not in UNITS:
            raise ConfigError(f"the units are {units!r}", f"give {' or '.join(UNITS)}")
        known = languages()
        if language not in known:
            raise ConfigError(
                f"there are no words in the language {language!r}", f"give {' or '.join(known)}"
            )
        file = resources.files(_PACKAGE) / "words" / f"{language}.yaml"
        self.language = language
        # A number stays with what follows it.
        text = (
            file.read_text(encoding="utf-8").replace(" %", "\u202f%").replace("} px", "}\u00a0px")
        )
        self._words: dict[str, str | dict[str, str]] = parse_yaml(text)
        self._comma = language != "en"
        self.is_imperial = units == "imperial"

    def __call__(self, key: str, **given: Any) -> str:
        """A word or sentence, with what it is to hold.

        Of those that have a singular and a plural, `count` chooses; without one it is the plural.

            >>> Words("en")("count_cracks", count=1), Words("de")("count_cracks", count=2)
            ('1 crack', '2 Risse')
        """
        text = self._words[key]
        if isinstance(text, dict):
            text = text["one" if given.get("count") == 1 else "other"]
        return text.format(**given) if given else text

    def forms(self, key: str) -> dict[str, str]:
        """A word's forms by name: "one" and "other", or "other" alone."""
        text = self._words[key]
        return dict(text) if isinstance(text, dict) else {"other": text}

    @property
    def known(self) -> frozenset[str]:
        """All its keys."""
        return frozenset(self._words)

    def number(self, value: float, digits: int) -> str:
        """A number with thin spaces between thousands."""
        text = f"{value:,.{digits}f}".replace(",", "\u202f")
        return text.replace(".", ",") if self._comma else text

    def moment(self, iso: str) -> str:
        """A moment as ISO 8601 writes it, to the minute; what is none stays as it is.

        >>> Words("de").moment("2026-11-30T20:09:25+00:00")
        '30.11.2026, 20:09 UTC'
        """
        try:
            when = datetime.fromisoformat(iso)
        except ValueError:
            return iso
        day = f"{when:%d.%m.%Y}" if self.language == "de" else f"{when:%Y-%m-%d}"
        zone = "" if when.utcoffset() is None else f" {when.tzname()}"
        return day if len(iso) <= len("2026-11-30") else f"{day}, {when:%H:%M}{zone}"

    def percent(self, share: float) -> str:
        """A share of 0 to 1; what is little is not nothing."""
        if 0 < share < _LEAST_SHARE:
            return "<\u202f1\u202f%"
        return f"{self.number(100 * share, 0)}\u202f%"

    @property
    def small_unit(self) -> str:
        """That of widths."""
        return "in" if self.is_imperial else "mm"

    def in_small_unit(self, millimetres: float) -> float:
        """A width or short length in the unit of widths."""
        return millimetres / MM_PER_INCH if self.is_imperial else millimetres

    def width_figure(self, millimetres: float, more_digits: int = 0) -> str:
        """A width without its unit: to 0.01 mm or 0.001 in, or finer."""
        digits = (3 if self.is_imperial else 2) + more_digits
        return self.number(self.in_small_unit(millimetres), digits)

    def width(self, millimetres: float, more_digits: int = 0) -> str:
        """A width."""
        return f"{self.width_figure(millimetres, more_digits)} {self.small_unit}"

    def length(self, millimetres: float) -> str:
        """A length: millimetres below a metre, inches below a foot."""
        if self.is_imperial:
            if abs(millimetres) >= _MM_PER_FOOT:
                return f"{self.number(millimetres / _MM_PER_FOOT, 2)} ft"
            return f"{self.number(millimetres / MM_PER_INCH, 1)} in"
        if abs(millimetres) >= _MM_PER_M:
            return f"{self.number(millimetres / _MM_PER_M, 2)} m"
        return f"{self.number(millimetres, 0)} mm"

    def area(self, square_metres: float) -> str:
        """An area."""
        if self.is_imperial:
            return f"{self.number(square_metres * (_MM_PER_M / _MM_PER_FOOT) ** 2, 2)} ft\u00b2"
        return f"{self.number(square_metres, 2)} m\u00b2"

    def density(self, per_metre: float) -> str:
        """Length of cracks on an area, of metres on a square metre."""
        if self.is_imperial:
            return f"{self.number(per_metre * _MM_PER_FOOT / _MM_PER_M, 3)} ft/ft\u00b2"
        return f"{self.number(per_metre, 2)} m/m\u00b2"


def term_name(name: str, words: Words) -> str:
    """What a source of uncertainty is called; its own name where there are no words for it."""
    key = f"term_{name.replace(' ', '_')}"
    return words(key) if key in words.known else name


def class_name(name: str, words: Words) -> str:
    """What a class of the tables that come along is called; one of a table of one's own as it is.

    >>> class_name("within w_max", Words("de")), class_name("category 3", Words("de"))
    ('innerhalb von w_max', 'Kategorie 3')
    """
    key = f"class_{name.replace(' ', '_')}"
    if key in words.known:
        return words(key)
    kind, _, number = name.partition(" ")
    return words("class_category", number=number) if kind == "category" and number else name
