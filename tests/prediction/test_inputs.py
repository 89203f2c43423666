"""Which images a command line means."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecrack.errors import ConfigError, SourceError
from edgecrack.prediction.inputs import find_images
from edgecrack.runtime.outputs.output_folder import LEDGER_NAME


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(words: list[str], out: Path) -> list[str]:
    return [one.name for one in find_images(words, out)[0]]


def test_a_folder_means_all_images_below_it_in_natural_order(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    touch(photos / "b10.jpg", photos / "b9.JPG", photos / "pier 2" / "a.png", photos / "notes.txt")
    touch(photos / "pier 10" / "a.png", photos / ".hidden" / "x.jpg", photos / "._b9.jpg")
    assert names([str(photos)], tmp_path / "out") == ["b9", "b10", "pier 2/a", "pier 10/a"]


def test_names_stay_apart(tmp_path: Path) -> None:
    touch(*(tmp_path / place for place in ("x/a.jpg", "x/A.png", "y/a.jpg", "y/a_jpg.png")))
    found = names([str(tmp_path / "x"), str(tmp_path / "y")], tmp_path / "out")
    assert found == ["a_jpg_2", "A_png", "a_jpg_3", "a_jpg"]


def test_patterns_lists_addresses_and_files_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(*(Path(place) for place in ("p/1.jpg", "p/2.jpg", "p/q/3.jpg", "p/4.txt", "5.png")))
    Path("list.txt").write_text("# of today\np/2.jpg\n\nhttp://bob:x@host/snap/6.jpg?size=2\n")
    found, refused = find_images(["p/**/*.jpg", "@list.txt", "5.png", "p/1.jpg"], Path("out"))
    assert [one.source for one in found] == [
        "p/1.jpg", "p/2.jpg", "p/q/3.jpg", "http://***@host/snap/6.jpg?size=2", "5.png",
    ]  # fmt: skip
    assert [one.name for one in found] == ["1", "2", "3", "6", "5"]
    assert not refused


def test_results_of_a_run_are_no_input(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    touch(
        photos / "a.jpg", photos / "a.prob.png", photos / "kept.png", photos / "run" / "a.mask.png"
    )
    ledger = "".join(json.dumps(name) + "\n" for name in ("a.prob.png", "gone.png"))
    (photos / LEDGER_NAME).write_text(ledger + '"torn')
    assert names([str(photos)], photos / "run") == ["a", "kept"]
    assert names([str(photos / "*.png")], tmp_path / "out") == ["kept"]
    assert names([str(photos)], photos) == ["a", "kept", "run/a.mask"]


def test_results_are_known_from_deep_below_and_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = "a/b/c/d/e"
    mask = tmp_path / "run" / deep / "1.mask.png"
    touch(mask, mask.with_name("2.png"))
    (tmp_path / "run" / LEDGER_NAME).write_text(json.dumps(f"{deep}/1.mask.png") + "\n")
    monkeypatch.chdir(mask.parent)
    assert names(["."], tmp_path / "out") == ["2"]
    assert names(["*.png"], tmp_path / "out") == ["2"]
    with pytest.raises(ConfigError, match="result of an earlier run"):
        find_images(["1.mask.png"], tmp_path / "out")


def test_long_names_fit_a_file_system_and_folders_do_not_look_like_results(tmp_path: Path) -> None:
    umlauts = "ü" * 120
    touch(tmp_path / "in" / f"{umlauts}.jpg", tmp_path / "in" / f"{umlauts[:-1]}x.jpg")
    touch(tmp_path / "in" / "wall.mask.png" / "a.jpg")
    found = names([str(tmp_path / "in")], tmp_path / "out")
    assert len(set(found)) == 3
    assert all(len(name.encode()) <= 180 for name in found)
    assert "wall.mask_png/a" in found


@pytest.mark.parametrize(
    "word", ["x" * 5000, "a\0b", "http://[bad/a.jpg", "@" + "x" * 5000, "@a\0b"]
)
def test_words_that_no_system_takes_are_errors(word: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        find_images([word], tmp_path / "out")


def test_a_password_in_a_mistyped_address_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        find_images(["http:/bob:secret@host/a.jpg"], tmp_path / "out")
    assert "secret" not in str(caught.value)


def test_a_list_from_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(Path("a.jpg"))
    Path("list.txt").write_bytes("\ufeffa.jpg\r\n  # later: b.jpg\r\n".encode())
    assert names(["@list.txt"], Path("out")) == ["a"]


def test_what_is_no_file_of_its_own_is_refused(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    touch(photos / "a.jpg", tmp_path / "far" / "b.jpg", photos / "scan.pdf")
    (photos / "b.jpg").symlink_to(tmp_path / "far" / "b.jpg")
    (photos / "c.jpg").symlink_to("a.jpg")
    os.mkfifo(photos / "d.jpg")
    found, refused = find_images([str(photos)], tmp_path / "out")
    assert [one.source for one in found] == [str(photos / "a.jpg")]  # c is the same file
    assert sorted(one.path.name for one in refused) == ["b.jpg", "d.jpg", "scan.pdf"]


@pytest.mark.parametrize(
    ("word", "kind", "problem"),
    [
        ("missing.jpg", SourceError, "missing.jpg does not exist"),
        ("*.nothing", SourceError, "nothing matches the pattern"),
        ("@missing.txt", SourceError, "the list missing.txt cannot be read"),
        ("film.mp4", ConfigError, "film.mp4 is not a still image"),
        ("plan.pdf", ConfigError, "of an unsupported kind"),
        ("rtsp://bob:hunter2@host/x", ConfigError, "not an image address"),
        ("empty", SourceError, "there are no images in empty"),
        ("pipe.jpg", SourceError, "pipe"),
    ],
)
def test_what_means_nothing_is_said(
    word: str, kind: type[Exception], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(Path("film.mp4"), Path("plan.pdf"), Path("empty/readme.txt"))
    os.mkfifo("pipe.jpg")
    with pytest.raises(kind) as caught:
        find_images([word], Path("out"))
    assert problem in str(caught.value)
    assert "hunter2" not in str(caught.value)


@settings(max_examples=40)
@given(
    st.lists(
        st.from_regex(r"\A([ab]/){0,2}[aAb]{1,2}(_jpg|_2)?\.(jpg|png|JPG)\Z"),
        unique_by=str.lower,
        min_size=1,
        max_size=10,
    )
)
def test_names_are_unique_without_case(places: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for place in places:
            touch(Path(folder) / place)
        found = names([folder], Path(folder) / "out")
    assert len({name.lower() for name in found}) == len(places)
