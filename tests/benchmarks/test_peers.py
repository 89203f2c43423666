"""The comparison with peers: its figures, its tables, what fails, and a peer in a process."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks import peers, peers_environment, peers_tables
from benchmarks.peers_environment import Environment, default_folder, prepare_environment
from benchmarks.peers_frames import Frame, most_crack, read_frames
from benchmarks.peers_list import PEERS
from benchmarks.peers_process import PeerFailedError, PeerProcess
from benchmarks.peers_runs import mean_of_patches, plan_of, unet_shape
from benchmarks.plain_unet import plain_unet
from edgecrack.data.patches import PatchStride, average_patches
from edgecrack.errors import ConfigError, DataError, MissingDependencyError
from edgecrack.runtime.detector import open_detector
from tests.waiting import PATIENCE_S

Image = NDArray[np.uint8]


def image(*rows: list[int]) -> Image:
    return np.array(rows, np.uint8)


def test_ratios_are_of_the_same_round() -> None:
    found = peers_tables.ratios([2.0, 6.0, 9.0], [1.0, 2.0, 9.0])
    assert found == {"median": 2.0, "lower": 1.5, "upper": 2.5}


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ([[0, 200, 255]], [[0, 200, 255]], {"largest": 0, "mean": 0.0, "iou": 1.0}),
        ([[0, 100, 255]], [[0, 200, 252]], {"largest": 100, "mean": 34.333, "iou": 0.5}),
        ([[0, 255, 0]], [[255, 0, 0]], {"largest": 255, "mean": 170.0, "iou": 0.0}),
        ([[0, 7, 0]], [[0, 0, 0]], {"largest": 7, "mean": 2.333, "iou": None}),
    ],
)
def test_agreement(
    found: list[list[int]], wanted: list[list[int]], expected: dict[str, Any]
) -> None:
    assert peers_tables.agreement([image(*found)], [image(*wanted)], 200) == expected


def test_agreement_pools_the_pixels_of_frames_of_several_sizes() -> None:
    found = [image([255, 255, 255]), image([0])]
    wanted = [image([255, 255, 255]), image([255])]
    assert peers_tables.agreement(found, wanted, 200) == {
        "largest": 255,
        "mean": 63.75,
        "iou": 0.75,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ""), ("one", "one"), ("Traceback\n  at\nOSError: no disk \n\n", "OSError: no disk")],
)
def test_last_line(text: str, expected: str) -> None:
    assert peers_tables.last_line(text) == expected


def row(time: float, **more: Any) -> dict[str, Any]:
    scene = {
        "time": {"median": time, "lower": time - 0.25, "upper": time + 0.25},
        "frames_per_s": 4.0,
        "memory": {"over_imports_mb": 99.6, "peak_mb": None},
        **more,
    }
    return {"words": "a peer", "scenes": {"video": scene}}


def document(*rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "scenes": {"video": {"words": "a wall, 480x854"}},
        "not_made": {"paper.onnx": "no torch"},
        "rows": {str(number): each for number, each in enumerate(rows)},
    }


def test_a_table_has_a_line_for_each_peer_and_the_words_of_what_failed() -> None:
    failed = {"words": "another", "error": "no compiler"}
    agreed = {"largest": 3, "mean": 0.214, "iou": None}
    text = peers_tables.tables(
        document(row(1.5, agreement=agreed, agreement_without_seams={"iou": 0.87}), failed)
    )
    lines = text.splitlines()
    assert lines[0].startswith("| a wall, 480x854 |")
    assert lines[2] == "| a peer | 1.50 | 1.25 to 1.75 |  | 4 | 100 |  | 3 | 0.21 |  | 0.870 |"
    assert lines[-2:] == [
        "- another: did not run: no compiler",
        "- paper.onnx was not made: no torch",
    ]
    assert {line.count("|") for line in lines[:3]} == {12}


def test_what_is_extrapolated_is_marked() -> None:
    text = peers_tables.tables(document(row(2000.0, extrapolated="from 0.1 % of each frame")))
    assert "| a peer * | 2,000 | 2,000 to 2,000 |" in text


def test_tables_stand_between_their_marks_and_leave_the_rest() -> None:
    marks = f"before\n{peers_tables.BEGIN}\nold\n{peers_tables.END}\nafter\n"
    once = peers_tables.between_marks(marks, "new")
    assert once == f"before\n{peers_tables.BEGIN}\nnew\n{peers_tables.END}\nafter\n"
    assert peers_tables.between_marks(once, "new") == once


@pytest.mark.parametrize("text", ["", f"{peers_tables.END}{peers_tables.BEGIN}"])
def test_a_document_without_marks_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="put both where the tables belong"):
        peers_tables.between_marks(text, "new")


def test_the_document_has_the_marks() -> None:
    text = peers_tables.DOCUMENT.read_text(encoding="utf-8")
    assert peers_tables.BEGIN in peers_tables.between_marks(text, "new")


def test_each_round_begins_with_another_peer() -> None:
    assert [peers.turned(["a", "b", "c"], each)[0] for each in range(4)] == ["a", "b", "c", "a"]
    assert sorted(peers.turned(["a", "b", "c"], 2)) == ["a", "b", "c"]
    assert peers.turned([], 3) == []


def test_edgecrack_is_always_among_the_chosen() -> None:
    assert peers.chosen_names([]) == list(PEERS)
    assert peers.chosen_names(["torch"]) == ["edgecrack", "torch"]
    with pytest.raises(ConfigError, match=r"the peer is 'tensorflow'; give some of: edgecrack, "):
        peers.chosen_names(["tensorflow"])


def test_a_part_of_a_frame_stands_for_the_whole() -> None:
    rows: dict[str, dict[str, Any]] = {
        "edgecrack": {"scenes": {"video": {"part": 1.0}}},
        "paper": {"scenes": {"video": {"part": 0.01}}},
        "lost": {"scenes": {"video": {"part": 1.0}}, "error": "gone"},
    }
    seconds = {"edgecrack": {"video": [2.0, 4.0]}, "paper": {"video": [1.0, 2.0]}}
    peers.summarise(rows, seconds, {"video": 4})
    whole, part = (rows[name]["scenes"]["video"] for name in ("edgecrack", "paper"))
    assert whole["time"]["median"] == 1
    assert "extrapolated" not in whole
    assert part["time"]["median"] == 50
    assert part["extrapolated"] == "from 1.000% of each frame"
    assert part["seconds_per_frame"] == [25.0, 50.0]
    assert "scenes" not in rows["lost"]


def test_the_plain_network_has_the_size_of_those_in_use() -> None:
    network = plain_unet()
    # As counted by segmentation libraries: ResNet-34's encoder, decoder of 256 to 16 channels.
    assert sum(each.numel() for each in network.parameters()) == 24_436_369
    with torch.inference_mode():
        output = network(torch.zeros(1, 1, *unet_shape((40, 64)), dtype=torch.uint8))
    assert output.shape == (1, 1, 64, 64)
    assert output.dtype == torch.uint8


def frame(height: int, width: int, centre_yx: tuple[int, int]) -> Frame:
    prepared = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    return Frame(prepared, prepared, prepared, centre_yx)


@pytest.mark.parametrize("centre_yx", [(0, 0), (75, 90), (149, 179)])
def test_patches_of_a_part_give_what_those_of_the_whole_frame_give(
    centre_yx: tuple[int, int],
) -> None:
    def smoothed(tiles: Image) -> Image:  # what depends on the place within a patch
        ramp = np.linspace(0, 1, tiles.shape[-1])
        return (tiles * ramp).astype(np.uint8)

    given = frame(150, 180, centre_yx)
    peer = mean_of_patches(smoothed)
    pair = peer.compared(given, None)
    assert pair is not None
    found, place = pair
    whole = average_patches(given.prepared, PatchStride(48, 1), smoothed)
    assert found.shape == (32, 32)
    # `place` is the same part of the frame itself, by which it is found in the whole map.
    corners = np.argwhere(
        np.all(
            np.lib.stride_tricks.sliding_window_view(given.prepared, place.shape) == place,
            axis=(2, 3),
        )
    )
    assert len(corners) == 1
    y, x = corners[0]
    assert np.array_equal(whole[y : y + 32, x : x + 32], found)


def test_the_share_of_a_part_is_that_of_its_patches() -> None:
    peer = mean_of_patches(lambda tiles: tiles)
    assert peer.part(frame(64, 64, (40, 40))) == 1
    assert peer.part(frame(64, 47 + 2 * 17, (40, 40))) == 0.5
    assert peer.compared(frame(100, 100, (40, 40)), None) is None


def test_the_part_that_is_compared_lies_where_most_crack_is_but_within_the_frame() -> None:
    crack = np.zeros((300, 400), np.uint8)
    crack[:40, :40] = 255  # nearer to the border than a part reaches
    crack[200:210, 300:330] = 250
    y, x = most_crack(crack)
    assert abs(y - 205) <= 16
    assert abs(x - 315) <= 16
    rows, columns = Frame(crack, crack, crack, (y, x)).part(126)
    assert (rows.start + rows.stop) // 2 == y
    assert (columns.start + columns.stop) // 2 == x


def test_in_a_small_frame_the_compared_part_lies_at_the_border() -> None:
    crack = np.zeros((90, 90), np.uint8)
    crack[:9, :9] = 255
    y, x = most_crack(crack)
    assert y < 33
    assert x < 33


def environment(**failed: str) -> Environment:
    return Environment(Path(sys.executable), failed)


def test_a_package_that_is_not_there_costs_its_own_peer(tmp_path: Path) -> None:
    with ExitStack() as stack:
        running, rows = peers.start(
            environment(monai="ERROR: No matching distribution"),
            {"checkpoint.safetensors": "no torch"},
            ["monai-onnxruntime", "torch"],
            tmp_path,
            1,
            stack,
        )
    assert running == {}
    assert rows["monai-onnxruntime"]["error"] == "ERROR: No matching distribution"
    assert rows["torch"]["error"] == "no torch"


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    words = ["run", "edgecrack-tiler", str(tmp_path), "1"]
    with (
        PeerProcess(Path(sys.executable), words, tmp_path, "peer") as process,
        pytest.raises(PeerFailedError, match=r"FileNotFoundError: .*frames\.npz"),
    ):
        process.hear(PATIENCE_S)
    with (
        PeerProcess(Path(sys.executable), ["make", "nothing"], tmp_path, "make") as process,
        pytest.raises(PeerFailedError, match="IndexError"),
    ):
        process.finish(PATIENCE_S)


def test_edgecrack_in_a_process_of_its_own_agrees_with_itself(tmp_path: Path) -> None:
    name = "edgecrack-onnxruntime"
    prepared = np.random.default_rng(1).integers(0, 256, (60, 300), dtype=np.uint8)
    with open_detector(threads=1, backend="onnxruntime") as detector:
        reference = detector.infer(prepared)
        arrays = {
            "video-0-prepared": prepared,
            "video-0-reference": reference,
            "video-0-full": reference,
        }
        assert np.array_equal(
            plan_of(prepared).stitch(detector.runner.infer(plan_of(prepared).cut(prepared))),
            reference,
        )
    np.savez(tmp_path / "frames.npz", **arrays)  # type: ignore[arg-type]
    (tmp_path / "frames.json").write_text(json.dumps({"level": 230}), encoding="utf-8")
    assert list(read_frames(tmp_path)) == ["video"]
    with ExitStack() as stack:
        running, rows = peers.start(environment(), {}, [name], tmp_path, 1, stack)
        seconds = peers.measure(running, rows, ["video"], 2)
    measured = rows[name]
    assert measured["scenes"]["video"]["agreement"]["largest"] == 0
    assert len(seconds[name]["video"]) == 2
    memory = measured["memory_at_end"]
    if sys.platform == "linux":
        assert 0 < memory["over_imports_mb"] < memory["peak_mb"]


def test_without_a_place_for_caches_a_folder_has_to_be_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers_environment, "cache_folder", lambda: None)
    with pytest.raises(ConfigError, match="give --environment"):
        default_folder()


def test_an_environment_without_edgecrack_is_an_error_with_pips_words(tmp_path: Path) -> None:
    folder = tmp_path / "environment"
    nowhere = ["--no-index", "--find-links", str(tmp_path), "--isolated"]
    with pytest.raises(MissingDependencyError, match=r"cannot be made \(ERROR: .*\)"):
        prepare_environment(folder, nowhere)
    assert not (folder / "installed.json").exists()
