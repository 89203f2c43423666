"""Which folder a run gets: the one asked for, the one beside it, or that of a run to go on with."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecrack.errors import ConfigError, OutputError
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.runtime.outputs.output_place import Existing, ResultsPlace, existing_of, take_place
from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[3]
PATTERNS = ["frames.jsonl", "masks/*.png", "summary.json"]


@pytest.fixture
def taken() -> Iterator[list[ResultsPlace]]:
    """What `take` took; given back at the end."""
    places: list[ResultsPlace] = []
    yield places
    for place in places:
        place.folder.unlock()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "bridge"


def results_of_a_run(path: Path) -> None:
    folder = OutputFolder(path)
    folder.note({"part": 1})
    folder.claim("frames.jsonl").write_text("ours")


class TestBeside:
    @pytest.mark.parametrize("earlier", [0, 1, 2, 11])
    def test_the_first_free_number(
        self, out: Path, taken: list[ResultsPlace], earlier: int
    ) -> None:
        for number in range(earlier):
            results_of_a_run(out if number == 0 else out.with_name(f"bridge-{number + 1}"))
        place = take_place(out, PATTERNS)
        taken.append(place)
        assert place.folder.root.name == ("bridge" if earlier == 0 else f"bridge-{earlier + 1}")
        assert not place.goes_on
        if earlier:
            assert place.note == (
                f"{out} holds other results, which stay; those of this run go to "
                f"{out}-{earlier + 1}"
            )
            assert (out / "frames.jsonl").read_text() == "ours"
        else:
            assert place.note == ""

    def test_foreign_files_that_are_not_in_the_way(
        self, out: Path, taken: list[ResultsPlace]
    ) -> None:
        out.mkdir()
        (out / "wall.mp4").write_text("mine")
        taken.append(take_place(out, PATTERNS))
        assert taken[0].folder.root == out
        assert (out / "wall.mp4").read_text() == "mine"

    def test_foreign_files_in_the_way_are_refused(
        self, out: Path, taken: list[ResultsPlace]
    ) -> None:
        out.mkdir()
        (out / "frames.jsonl").write_text("mine")
        with pytest.raises(OutputError, match=r"frames\.jsonl, which no earlier run made"):
            take_place(out, PATTERNS)
        assert [path.name for path in out.iterdir()] == ["frames.jsonl"]
        assert [path.name for path in out.parent.iterdir()] == ["bridge"]

    def test_a_name_that_nobody_chose_gives_way(self, out: Path, taken: list[ResultsPlace]) -> None:
        out.mkdir()
        (out / "frames.jsonl").write_text("mine")
        out.with_name("bridge-2").write_text("a file")
        results_of_a_run(out.with_name("bridge-3"))
        taken.append(take_place(out, PATTERNS, named=False))
        assert taken[0].folder.root.name == "bridge-4"

    def test_a_folder_whose_results_were_taken_away_is_free(
        self, out: Path, taken: list[ResultsPlace]
    ) -> None:
        results_of_a_run(out)
        (out / "frames.jsonl").unlink()
        taken.append(take_place(out, PATTERNS))
        assert taken[0].folder.root == out

    def test_a_folder_in_which_a_run_goes_on_is_taken(
        self, out: Path, taken: list[ResultsPlace]
    ) -> None:
        taken.append(take_place(out, PATTERNS))  # and has written nothing yet
        taken.append(take_place(out, PATTERNS))
        assert [place.folder.root.name for place in taken] == ["bridge", "bridge-2"]

    @pytest.mark.parametrize("name", [".", "..", "deep/.."])
    def test_a_folder_without_a_name(
        self, tmp_path: Path, taken: list[ResultsPlace], monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        here = tmp_path / "above" / "here"
        (here / "deep").mkdir(parents=True)
        monkeypatch.chdir(here)
        results_of_a_run(Path(name))
        taken.append(take_place(Path(name), PATTERNS))
        expected = "above-2" if name == ".." else "here-2"
        assert taken[0].folder.root.resolve().name == expected

    def test_a_folder_that_cannot_be_made(self, out: Path) -> None:
        out.write_text("a file")
        with pytest.raises(OutputError, match="bridge"):
            take_place(out, PATTERNS)

    def test_without_locks_only_who_makes_the_folder_has_it(
        self, out: Path, taken: list[ResultsPlace], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def none(descriptor: int, operation: int) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "flock", none)
        taken += [take_place(out, PATTERNS) for _ in range(3)]
        assert [place.folder.root.name for place in taken] == ["bridge", "bridge-2", "bridge-3"]


def test_many_runs_that_start_at_once_have_each_its_own(out: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pathlib import Path
from edgecrack.runtime.outputs.output_place import take_place
input()
place = take_place(Path({str(out)!r}), {PATTERNS!r})
print(place.folder.root.name, flush=True)
input()
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    names = []
    for process in processes:
        assert process.stdout is not None
        names.append(process.stdout.readline().strip())
    for process in processes:
        process.communicate("\n", timeout=PATIENCE_S)
    assert set(names) == {"bridge", *(f"bridge-{number}" for number in range(2, 7))}


class TestOverwrite:
    def test_the_results_stay_until_the_run_begins(
        self, out: Path, taken: list[ResultsPlace]
    ) -> None:
        results_of_a_run(out)
        taken.append(take_place(out, PATTERNS, "overwrite"))
        assert (out / "frames.jsonl").exists()
        taken[0].folder.clear()
        assert not (out / "frames.jsonl").exists()
        assert taken[0].note == ""

    def test_foreign_files_in_the_way_are_refused(self, out: Path) -> None:
        results_of_a_run(out)
        (out / "masks").mkdir()
        (out / "masks" / "mine.png").write_text("mine")
        with pytest.raises(OutputError, match=r"mine\.png, which no earlier run made"):
            take_place(out, PATTERNS, "overwrite")
        assert (out / "frames.jsonl").exists()

    def test_a_run_that_goes_on_is_not_overwritten(
        self, out: Path, taken: list[ResultsPlace]
    ) -> None:
        taken.append(take_place(out, PATTERNS))
        with pytest.raises(OutputError, match="another run writes into"):
            take_place(out, PATTERNS, "overwrite")


class TestContinue:
    def test_the_newest_run_is_gone_on_with(self, out: Path, taken: list[ResultsPlace]) -> None:
        for name in ("bridge", "bridge-2", "bridge-4"):
            results_of_a_run(out.with_name(name))
        taken.append(take_place(out, PATTERNS, "continue"))
        assert (taken[0].folder.root.name, taken[0].goes_on) == ("bridge-2", True)

    def test_where_there_is_none_one_begins(self, out: Path, taken: list[ResultsPlace]) -> None:
        out.mkdir()
        (out / "wall.mp4").write_text("mine")
        taken.append(take_place(out, PATTERNS, "continue"))
        assert (taken[0].folder.root, taken[0].goes_on, taken[0].note) == (out, False, "")

    def test_a_run_that_is_not_gone_on_with_stays(
        self, out: Path, taken: list[ResultsPlace]
    ) -> None:
        results_of_a_run(out)
        seen: list[object] = []

        def why_not(notes: object) -> str:
            seen.append(notes)
            return "is complete"

        taken.append(take_place(out, PATTERNS, "continue", why_not=why_not))
        assert seen == [[{"part": 1}]]
        assert not taken[0].goes_on
        assert taken[0].note == f"the run in {out} is complete; a new one begins in {out}-2"

    def test_a_run_that_goes_on_is_left_alone(self, out: Path, taken: list[ResultsPlace]) -> None:
        taken.append(take_place(out, PATTERNS))
        taken.append(take_place(out, PATTERNS, "continue"))
        assert "still goes on" in taken[1].note
        assert taken[1].folder.root.name == "bridge-2"


@pytest.mark.parametrize(
    ("overwrite", "go_on", "expected"),
    [(False, False, "beside"), (True, False, "overwrite"), (False, True, "continue")],
)
def test_the_options(overwrite: bool, go_on: bool, expected: Existing) -> None:
    assert existing_of(overwrite=overwrite, go_on=go_on) == expected


def test_options_that_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="`continue` to add"):
        existing_of(overwrite=True, go_on=True)
