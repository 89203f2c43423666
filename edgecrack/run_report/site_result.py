"""The site check: camera, distance and program tested together by a check sheet.

Read in the run's own measured frames where it was in view, or given as the `cracks.json` that
`edgecrack measure` wrote of photos of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from edgecrack.errors import ConfigError
from edgecrack.outside_text import is_number, parse_json
from edgecrack.site_check.verdict import FEWEST_CRACKS, MOST_SCORE

SITE_CHECK_NAME = "site_check.json"
_REMEDY = "give the cracks.json that `edgecrack measure` wrote of photos of the check sheet"
_LINES = ("widths.jsonl", "survey/rows.jsonl", "part-*/widths.jsonl", "part-*/survey/rows.jsonl")
_MARK = b'"passed"'
_LARGEST_BYTES = 256 << 20


@dataclass(frozen=True)
class SiteReason:
    """Why a check failed.

    Attributes:
        key: what it is about: "scale", "few", "wrong", "mean", "bar" or "other".
        values: that belong to it.
    """

    key: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SiteResult:
    """The result of a site check.

    Attributes:
        passed: whether it did.
        checks: pictures that show the sheet.
        checks_passed: of these.
        date: when, as ISO 8601; None if unknown.
        cracks: on the sheet; None where that was not written down.
        read: of these, measured.
        narrowest_mm: stated width of the sheet's narrowest crack.
        smallest_mm: stated width of the narrowest that was measured correctly; None for none.
        deviation: by how much the given scale is larger than the sheet's, as a share.
        deviation_spread: of that, 95 %.
        reasons: why it failed.
        is_given: it comes from a file beside the report, and not from the run's own frames.
    """

    passed: bool
    checks: int
    checks_passed: int
    date: str | None
    cracks: int | None
    read: int | None
    narrowest_mm: float | None
    smallest_mm: float | None
    deviation: float | None
    deviation_spread: float | None
    reasons: tuple[SiteReason, ...]
    is_given: bool


def site_result_of_run(run: Path, date: str | None) -> SiteResult | None:
    """By the run's own measured frames; None where none of them shows a sheet.

    The frame in which most of the sheet's cracks could be measured decides.

    Args:
        run: its folder.
        date: of the run.
    """
    checks = list(_checks_in(run))
    if not checks:
        return None
    best = max(checks, key=_read_count)
    return _result(best, checks, best["passed"] is True, date, is_given=False)


def parse_site_check(data: bytes, name: str) -> SiteResult:
    """By a file that was given.

    Args:
        data: its content.
        name: what to call it in errors.

    Raises:
        ConfigError: it contains no check.
    """
    try:
        document = parse_json(data)
    except ValueError as error:
        raise ConfigError(f"{name} is not JSON", _REMEDY) from error
    if not isinstance(document, dict):
        raise ConfigError(f"{name} contains no check of a sheet", _REMEDY)
    if _is_check(document):  # one check, as the library gives it
        return _result(document, [document], document["passed"], None, is_given=True)
    photos = document.get("photos")
    shown = [
        photo
        for photo in (photos if isinstance(photos, list) else [])
        if isinstance(photo, dict) and _is_check(photo.get("site_check"))
    ]
    if not shown:
        raise ConfigError(f"no photo of {name} shows the check sheet", _REMEDY)
    checks = [photo["site_check"] for photo in shown]
    best = max(shown, key=lambda photo: _read_count(photo["site_check"]))
    taken = best.get("taken")
    date = taken.get("taken_at") if isinstance(taken, dict) else None
    passed = all(check["passed"] for check in checks)
    decides = next((check for check in checks if not check["passed"]), best["site_check"])
    return _result(decides, checks, passed, date, is_given=True)


def read_site_check(path: Path) -> bytes:
    """The content of a file with a check.

    Raises:
        ConfigError: it cannot be read, or contains no check.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        problem = f"cannot read the site check {path}: {error.strerror}"
        raise ConfigError(problem, "check the path") from error
    parse_site_check(data, str(path))
    return data


def _checks_in(run: Path) -> Iterator[dict[str, Any]]:
    for pattern in _LINES:
        found = False
        for path in sorted(run.glob(pattern)):
            for check in _checks_of(path):
                found = True
                yield check
        if found and "rows" not in pattern:
            return  # rows are of some of the same frames


def _checks_of(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as lines:
            for line in lines:
                if _MARK not in line:
                    continue
                try:
                    record = parse_json(line)
                except ValueError:
                    continue
                check = record.get("site_check") if isinstance(record, dict) else None
                if _is_check(check):
                    yield check
    except OSError:
        return


def _is_check(check: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(check, dict) and isinstance(check.get("passed"), bool)


def _cracks(check: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = check.get("cracks")
    return [
        each
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and is_number(each.get("stated_mm"))
    ]


def _read_count(check: Mapping[str, Any]) -> int:
    return sum(each.get("measurable") is True for each in _cracks(check))


def _result(
    check: Mapping[str, Any],
    checks: list[dict[str, Any]],
    passed: bool,
    date: Any,
    *,
    is_given: bool,
) -> SiteResult:
    cracks = _cracks(check)
    right = [each["stated_mm"] for each in cracks if _is_right(each)]
    scale = check.get("scale")
    scale = scale if isinstance(scale, dict) else {}
    deviation, spread = scale.get("deviation"), scale.get("spread_95")
    return SiteResult(
        passed,
        len(checks),
        sum(each["passed"] for each in checks),
        date if isinstance(date, str) else None,
        len(cracks) or None,
        _read_count(check) if cracks else None,
        min((each["stated_mm"] for each in cracks), default=None),
        min(right, default=None),
        deviation if is_number(deviation) else None,
        spread if is_number(spread) else None,
        () if passed else _reasons(check, cracks, scale),
        is_given,
    )


def _is_right(crack: Mapping[str, Any]) -> bool:
    score = crack.get("score")
    is_read = crack.get("measurable") is True and isinstance(score, (int, float))
    return is_read and abs(float(score or 0.0)) <= MOST_SCORE


def _reasons(
    check: Mapping[str, Any], cracks: list[dict[str, Any]], scale: Mapping[str, Any]
) -> tuple[SiteReason, ...]:
    found = []
    if scale.get("agrees") is False:
        found.append(SiteReason("scale"))
    if cracks and _read_count(check) < FEWEST_CRACKS:
        found.append(SiteReason("few"))
    wrong = [each["stated_mm"] for each in cracks if each.get("measurable") and not _is_right(each)]
    if wrong:
        found.append(SiteReason("wrong", {"widths_mm": wrong}))
    mean = check.get("mean_deviation")
    value = mean.get("value") if isinstance(mean, dict) else None
    if isinstance(mean, dict) and is_number(value) and abs(value) > (mean.get("spread_95") or 0.0):
        found.append(SiteReason("mean", {"deviation": value}))
    if not found and scale.get("bar_measured") is False:
        found.append(SiteReason("bar"))
    return tuple(found) or (SiteReason("other"),)
