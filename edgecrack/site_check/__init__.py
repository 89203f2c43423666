"""On-site check of camera, distance and software with a printed sheet of known cracks."""

from edgecrack.site_check.sheet_reading import read_sheet
from edgecrack.site_check.verdict import CrackReading, ScaleCheck, SiteCheck

__all__ = ["CrackReading", "ScaleCheck", "SiteCheck", "read_sheet"]
