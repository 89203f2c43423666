"""What `data` may say, and what each mistake is answered."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.data.sources import DataSource, parse_source, parse_sources
from edgecrack.errors import ConfigError, EdgecrackError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with folders of ordinary and of awkward names."""
    monkeypatch.chdir(tmp_path)
    for name in ("walls", "a=b", "run@2", "cfd=x@3", "sets/uav", "synthetic", "clean:road"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "name", "folder", "layout", "weight"),
    [
        ("walls", "walls", "walls", None, None),
        ("walls@2", "walls", "walls", None, 2.0),
        ("walls@0.25", "walls", "walls", None, 0.25),
        ("uav=walls", "uav", "walls", None, None),
        ("uav=walls@1e1", "uav", "walls", None, 10.0),
        ("cfd=walls", "cfd", "walls", "cfd", None),
        ("cracktree=sets/uav@3", "cracktree", "sets/uav", "cracktree", 3.0),
        ("./sets/uav/", "uav", "sets/uav", None, None),
        # "=" and "@" in the names of folders that are there
        ("a=b", "a=b", "a=b", None, None),
        ("a=b@2", "a=b", "a=b", None, 2.0),
        ("x=a=b", "x", "a=b", None, None),
        ("run@2", "run@2", "run@2", None, None),
        ("run@2@5", "run@2", "run@2", None, 5.0),
        ("x=run@2", "x", "run@2", None, None),
        ("cfd=x@3", "cfd=x@3", "cfd=x@3", None, None),
        ("deepcrack=cfd=x@3@0.5", "deepcrack", "cfd=x@3", "deepcrack", 0.5),
        ("clean:road", "clean:road", "clean:road", None, None),
        ("./synthetic", "synthetic", "synthetic", None, None),
        # not there: what was meant is still told apart
        ("nowhere", "nowhere", "nowhere", None, None),
        ("cfd=no/where@2", "where?", "no/where", "cfd", 2.0),
        ("x" * 5000 + "@2", "x" * 5000, "x" * 5000, None, 2.0),
        ("user@host/data", "data", "user@host/data", None, None),
        ("sets/x=y", "x=y", "sets/x=y", None, None),
    ],
)
def test_labelled_sources(
    here: Path, text: str, name: str, folder: str, layout: str | None, weight: float | None
) -> None:
    source = parse_source(text)
    assert source.kind == "labelled"
    assert source.name == (name if name != "where?" else "cfd")
    assert source.folder == Path(folder)
    assert (source.layout, source.weight) == (layout, weight)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clean:walls", DataSource("walls", "clean", Path("walls"))),
        ("clean:walls@2", DataSource("walls", "clean", Path("walls"), weight=2.0)),
        ("tiles=clean:walls", DataSource("tiles", "clean", Path("walls"))),
        ("tiles=clean:a=b@0.5", DataSource("tiles", "clean", Path("a=b"), weight=0.5)),
        ("clean:no/where", DataSource("where", "clean", Path("no/where"))),
        ("synthetic", DataSource("synthetic", "synthetic", count=600)),
        ("synthetic:50", DataSource("synthetic", "synthetic", count=50)),
        ("synthetic@2", DataSource("synthetic", "synthetic", count=600, weight=2.0)),
        ("synthetic:50@0.5", DataSource("synthetic", "synthetic", count=50, weight=0.5)),
    ],
)
def test_clean_and_synthetic_sources(here: Path, text: str, expected: DataSource) -> None:
    assert parse_source(text) == expected


def test_home_is_found_behind_a_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    assert parse_source("uav=~/walls@2").folder == here / "walls"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("walls@0", "weight of data source 'walls' is 0.0; give a number above 0"),
        ("walls@-1", "weight of data source 'walls' is -1.0; give a number"),
        ("walls@nan", "weight of data source 'walls' is nan; give a number"),
        ("walls@inf", "weight of data source 'walls' is inf; give a number"),
        ("uav=walls@two", "weight of data source 'uav=walls@two' is 'two'; give a number"),
        ("walls@", "weight of data source 'walls@' is ''; give a number"),
        ("nowhere@two", "weight of data source 'nowhere@two' is 'two'; give a number"),
        ("synthetic:20@none", "weight of data source 'synthetic:20@none' is 'none'"),
        ("synthetic:x", "'synthetic:x' asks for 'x' walls; give synthetic:COUNT, 10 to 100000"),
        ("synthetic:-5", "'synthetic:-5' asks for '-5' walls; give"),
        ("synthetic:", "'synthetic:' asks for '' walls; give"),
        ("synthetic:9", "asks for 9 walls; give synthetic:COUNT, 10"),
        ("synthetic:100001", "asks for 100001 walls; give"),
        ("synthetic:" + "9" * 5000, "walls; give"),
        ("", "names no folder; give .NAME="),
        ("cfd=", "'cfd=' names no folder; give"),
        ("clean:", "'clean:' names no folder; give"),
        ("@3", "'@3' names no folder; give"),
        ("clean=walls", "reserved name 'clean'; give clean:DIR"),
        ("synthetic=walls", "reserved name 'synthetic'; give"),
        ("/", "has no name; give one: `data` NAME=DIR"),
    ],
)
def test_malformed_sources(here: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_source(text)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["walls", "x=walls", "walls"], "'walls' and 'walls' are both named 'walls'; give them"),
        (["sets/uav", "uav=walls"], "'sets/uav' and 'uav=walls' are both named 'uav'; give them"),
        (["synthetic:20", "synthetic"], "both named 'synthetic'; ask for all walls in one source"),
        (["walls@1", "sets/uav"], "'sets/uav' has no weight, but other data sources have; give"),
        (["walls", "synthetic@2"], "'walls' has no weight.*or none"),
        (["clean:walls", "clean:sets/uav"], "no training image has a crack; add a label"),
    ],
)
def test_sources_that_do_not_go_together(here: Path, texts: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_sources(texts)


def test_sources_that_go_together(here: Path) -> None:
    names = [source.name for source in parse_sources(["x=walls", "walls", "clean:sets/uav"])]
    assert names == ["x", "walls", "uav"]
    weights = [source.weight for source in parse_sources(["walls@1", "synthetic@0.5"])]
    assert weights == [1.0, 0.5]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("/srv/somebody/sets/cfd", "cfd"),
        ("uav=/srv/somebody/x@2", "uav@2"),
        ("clean:/srv/somebody/tiles@0.5", "clean:tiles@0.5"),
        ("synthetic:50@0.5", "synthetic:50@0.5"),
        ("synthetic", "synthetic:600"),
    ],
)
def test_label_shows_no_folder_of_the_machine(text: str, label: str) -> None:
    assert parse_source(text).label == label


@pytest.mark.parametrize(
    "make",
    [
        lambda: DataSource("", "labelled", Path("x")),
        lambda: DataSource("x", "labelled"),
        lambda: DataSource("x", "synthetic", Path("x"), count=20),
        lambda: DataSource("x", "synthetic", count=5),
        lambda: DataSource("x", "clean", Path("x"), weight=0.0),
    ],
)
def test_a_source_is_checked_when_it_is_made(make: object) -> None:
    assert callable(make)
    with pytest.raises(ConfigError):
        make()


@given(st.text(alphabet="ab=@:./~1 \\cleansynthetic", max_size=24))
def test_any_text_is_a_source_or_a_mistake_that_says_so(text: str) -> None:
    with contextlib.suppress(EdgecrackError):
        assert parse_source(text).name
