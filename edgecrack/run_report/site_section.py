"""What a report says of the check on site."""

from __future__ import annotations

from edgecrack.run_report.report_words import Words
from edgecrack.run_report.site_result import SITE_CHECK_NAME, SiteReason, SiteResult


def site_section(found: SiteResult | None, words: Words) -> list[tuple[str, str]]:
    """Terms and what they are; none without a check."""
    if found is None:
        return []
    unknown = words("unknown")
    verdict = words("site_passed" if found.passed else "site_failed")
    read, scale = unknown, unknown
    if found.cracks is not None:
        read = words("site_read_text", read=found.read, all=found.cracks)
    if found.deviation is not None:
        spread = (
            unknown if found.deviation_spread is None else _share(found.deviation_spread, words)
        )
        scale = words("site_scale_text", deviation=_signed(found.deviation, words), spread=spread)
    terms = [
        (words("site_verdict"), verdict),
        (words("site_date"), words.moment(found.date) if found.date else unknown),
        (words("site_read"), read),
        (words("site_narrowest_seen"), _width(found.narrowest_mm, words)),
        (words("site_smallest"), _width(found.smallest_mm, words)),
        (words("site_scale"), scale),
        (words("site_from"), _source(found, words)),
    ]
    if found.reasons:
        reasons = "; ".join(_reason(each, words) for each in found.reasons)
        terms.insert(1, (words("site_reasons"), reasons))
    return terms


def _width(width_mm: float | None, words: Words) -> str:
    return words("unknown") if width_mm is None else words.width(width_mm)


def _share(share: float, words: Words) -> str:
    return f"{words.number(100 * share, 1)}\u202f%"


def _signed(share: float, words: Words) -> str:
    """With its sign: more than 0 is too large."""
    return f"{'+' if share > 0 else ''}{_share(share, words)}".replace("-", "\u2212")


def _source(found: SiteResult, words: Words) -> str:
    key = "site_photos" if found.is_given else "site_from_run"
    text = words(key, count=found.checks, passed=found.checks_passed)
    if not found.is_given:
        return text
    return f"{text}; {words('site_from_file', name=f'report/{SITE_CHECK_NAME}')}"


def _reason(reason: SiteReason, words: Words) -> str:
    given = {}
    if "widths_mm" in reason.values:
        widths = reason.values["widths_mm"]
        given["widths"] = ", ".join(words.number(each, 2) for each in widths)
    if "deviation" in reason.values:
        given["deviation"] = _signed(reason.values["deviation"], words)
    return words(f"site_reason_{reason.key}", **given)
