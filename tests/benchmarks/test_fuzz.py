"""The fuzzer: what it notices, that it repeats itself, and a short run of it."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from benchmarks import fuzz, fuzz_worker
from benchmarks.fuzz_commands import CommandLines
from benchmarks.fuzz_kind import Kind, input_of
from benchmarks.fuzz_mutations import LARGEST_BYTES, MUTATORS, mutate
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits of memory")

EXAMPLES = (b'{"width": 16, "scales": [1, 0.5]}', b"\x89PNG\r\n" + bytes(500))


def run(name: str, inputs: int, timeout_s: float = PATIENCE_S) -> fuzz.Tally:
    return fuzz.fuzz_kind(name, seed=1, first=0, end=inputs, timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("name", "what", "said"),
    [
        ("Raises", "traceback", "KeyError: 'spoilt'"),
        ("RaisesInThread", "traceback", "ZeroDivisionError"),
        ("Logs", "traceback", "ValueError: logged only"),
        ("Dies", "died", "exit -6"),
        ("Eats", "memory", "MemoryError"),
        ("SaysNoRemedy", "traceback", "without problem or remedy"),
    ],
)
def test_each_way_to_fail_is_noticed_and_the_next_input_is_used(
    name: str, what: str, said: str
) -> None:
    tally = run(f"tests.benchmarks.failing_kinds:{name}", 2)
    assert [(one.number, one.what, one.content) for one in tally.failures] == [
        (0, what, b"spoilt"),
        (1, what, b"spoilt"),
    ]
    assert all(said in one.trace for one in tally.failures)


def test_a_hang_is_ended_and_named() -> None:
    tally = run("tests.benchmarks.failing_kinds:Hangs", 1, timeout_s=0.2)
    assert [(one.number, one.what) for one in tally.failures] == [(0, "hang")]


def test_refusals_are_counted_by_exit_code() -> None:
    tally = run("tests.benchmarks.failing_kinds:Refuses", 3)
    row = tally.to_dict()
    assert row["refused"] == {"exit 3": 3}
    assert (row["inputs"], row["accepted"], row["failures"]) == (3, 0, 0)


def test_a_run_whose_valid_examples_are_refused_is_no_run() -> None:
    with pytest.raises(fuzz.BrokenFuzzerError, match="a valid example was not accepted"):
        run("tests.benchmarks.failing_kinds:NeverSound", 1)


def test_a_failure_is_kept_with_the_command_that_reproduces_it(tmp_path: Path) -> None:
    failure = fuzz.Failure("images", 17, "hang", "longer than 20 s", b"\x89PNG")
    command = fuzz.keep(tmp_path / "kept", failure, seed=3)
    assert command == "python benchmarks/fuzz.py --only images --number 17 --seed 3"
    assert (tmp_path / "kept" / "images-17.input").read_bytes() == b"\x89PNG"
    assert (tmp_path / "kept" / "images-17.txt").read_text("utf-8").startswith(command)


@pytest.mark.parametrize("mutator", MUTATORS, ids=lambda each: each.__name__)
def test_every_mutator_takes_any_bytes(mutator: object) -> None:
    for seed, data in enumerate((b"", b"x", *EXAMPLES)):
        made = mutate(random.Random(seed), data, EXAMPLES, [mutator])  # type: ignore[list-item]
        assert len(made) <= LARGEST_BYTES


def test_mutations_repeat_differ_and_are_bounded() -> None:
    def made() -> list[bytes]:
        return [mutate(random.Random(seed), EXAMPLES[0], EXAMPLES) for seed in range(300)]

    first = made()
    assert first == made()
    assert len(set(first)) > 250
    assert max(map(len, first)) <= LARGEST_BYTES


@pytest.mark.parametrize("name", ["sidecars", "recordings", "images", "mjpeg", "positions"])
def test_inputs_are_the_same_in_every_folder(name: str, tmp_path: Path) -> None:
    def made(place: str) -> list[bytes]:
        folder = tmp_path / place
        folder.mkdir()
        with fuzz_worker.kind_named(name)(folder) as kind:
            examples = kind.examples()
            return [input_of(kind, examples, 1, number) for number in range(20)]

    assert made("one") == made("other")


def test_command_lines_reach_nothing_outside_their_folder(tmp_path: Path) -> None:
    kind: Kind = CommandLines(tmp_path)
    for number in range(2000):
        words = input_of(kind, [b"--version"], 1, number).split(b"\0")
        for word in words:
            assert b"/" not in word
            assert b".." not in word
            assert b"~" not in word
            assert not word.startswith((b"camera:", b"--camera=", b"--serve="))
            assert word not in (b"doctor", b"review", b"--camera", b"--serve")


@pytest.mark.parametrize("name", ["sidecars", "recordings", "images", "mjpeg", "positions"])
def test_a_short_run_finds_nothing(name: str) -> None:
    tally = run(name, 8)
    assert [(one.number, one.what, one.trace) for one in tally.failures] == []
    row = tally.to_dict()
    assert row["inputs"] == 8
    assert row["refused"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["commands", "checkpoints", "page"])
def test_a_short_run_of_what_takes_long_to_start_finds_nothing(name: str) -> None:
    tally = run(name, 12)
    assert [(one.number, one.what, one.trace) for one in tally.failures] == []
