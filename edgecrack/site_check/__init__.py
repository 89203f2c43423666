"""Checking camera, distance and software together on site, by a printed sheet of known cracks."""

from edgecrack.site_check.sheet_reading import read_sheet
from edgecrack.site_check.verdict import CrackReading, ScaleCheck, SiteCheck

__all__ = ["CrackReading", "ScaleCheck", "SiteCheck", "read_sheet"]
