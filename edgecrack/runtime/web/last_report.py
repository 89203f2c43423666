"""The last inspection report beside a stream's results, for whoever watches the stream.

Which file that is follows from the folder that the stream was given, and from nothing that a
request says. Knows folders and files only.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

_REPORT = Path("report") / "report.html"
_MOST_FOLDERS = 100  # looked at, the newest numbers first
LARGEST_BYTES = 64 << 20


@dataclass(frozen=True)
class FoundReport:
    """A report.

    Attributes:
        path: of its page.
        run: name of the run's folder.
        written_s: when, in seconds since 1970.
    """

    path: Path
    run: str
    written_s: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values for the page; no path."""
        written = datetime.fromtimestamp(self.written_s, timezone.utc)
        return {"run": self.run, "written_at": written.isoformat(timespec="seconds")}


class LastReport:
    """Finds the report that was written last, of this run or of an earlier one beside it.

    Args:
        run: folder of the run's results.
        requested: the folder that was asked for; earlier runs lie in it or beside it, numbered.
    """

    def __init__(self, run: Path, requested: Path) -> None:
        self._run, self._requested = run, requested

    def find(self) -> FoundReport | None:
        """The report; None where there is none."""
        found = [each for each in map(_report_of, self._folders()) if each is not None]
        return max(found, key=lambda each: (each.written_s, str(each.path)), default=None)

    def read(self) -> bytes | None:
        """The content of its page; None where there is none.

        Raises:
            OSError: it cannot be read.
        """
        found = self.find()
        if found is None:
            return None
        with found.path.open("rb") as file:
            return file.read(LARGEST_BYTES)

    def _folders(self) -> Iterator[Path]:
        yield self._run
        base = self._requested.resolve()
        yield base
        number = re.compile(re.escape(base.name) + r"-(\d{1,9})")
        try:
            named = [(number.fullmatch(each.name), each) for each in base.parent.iterdir()]
        except OSError:
            return
        numbered = sorted(((int(match[1]), path) for match, path in named if match), reverse=True)
        for _, path in numbered[:_MOST_FOLDERS]:
            yield path


def _report_of(run: Path) -> FoundReport | None:
    """The report in a run's folder; a link could lead anywhere and is none."""
    try:
        if run.is_symlink() or (run / _REPORT.parent).is_symlink():
            return None
        status = (run / _REPORT).lstat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= LARGEST_BYTES:
        return None
    return FoundReport(run / _REPORT, run.resolve().name, status.st_mtime)
