"""The fuzzer's files: sidecars, checkpoints, recordings and images."""

from __future__ import annotations

import io
import json
import random
import shutil
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.fuzz_kind import ACCEPTED, Kind, refusal
from benchmarks.fuzz_mutations import BINARY_MUTATORS, LARGEST_BYTES, mutate
from edgecrack.artifacts import ModelSpec, read_model_file, sidecar_path, write_sidecar
from edgecrack.errors import EdgecrackError
from edgecrack.files import write_png
from edgecrack.images.photo_facts import photo_facts
from edgecrack.mcap.message_types import EVENTS_TOPIC
from edgecrack.mcap.parts.part_names import PartNames
from edgecrack.mcap.parts.recovery import RecoveryReport, finish_leftover, recover
from edgecrack.mcap.parts.writer import PartWriter
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from edgecrack.runtime.detector import open_detector
from edgecrack.runtime.frame import Position
from edgecrack.runtime.position.replay import recorded_positions
from edgecrack.runtime.recording.messages import frame_messages, log
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.telemetry.events import Event
from tests.runtime.fakes import frame, result_of

_MOST_FRAMES = 50
_START_NS = 1_700_000_000_000_000_000


class Sidecars(Kind):
    """The JSON beside a model: read, and where it is accepted the model finds cracks by it."""

    name = "sidecars"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._model = folder / "model.onnx"
        shutil.copyfile(BUNDLED_MODEL, self._model)
        shutil.copyfile(sidecar_path(BUNDLED_MODEL), sidecar_path(self._model))

    def examples(self) -> list[bytes]:
        spec = read_model_file(BUNDLED_MODEL).spec
        made = (
            spec,
            replace(spec, scales=(1.0, 0.5), merge="wide-max", threshold=0.9),
            replace(spec, extra={"note": "of a later version", "list": [1, [2, {"3": 4.5}]]}),
            replace(spec, calibration={"images": 8, "method": "minmax"}, scores=({"f1": 0.5},)),
        )
        found = []
        for each in made:
            write_sidecar(self._model, each)
            found.append(sidecar_path(self._model).read_bytes())
        return found

    def use(self, data: bytes) -> str:
        sidecar_path(self._model).write_bytes(data)
        try:
            with open_detector(self._model, threads=1, backend="onnxruntime") as detector:
                detector.detect(np.full((64, 96, 3), 90, np.uint8))
        except EdgecrackError as error:
            return refusal(error)
        return ACCEPTED


class Checkpoints(Kind):
    """Safetensors of a training, mostly spoiled in their header, whose length then fits again."""

    name = "checkpoints"

    def examples(self) -> list[bytes]:
        # Here and below, not above: the workers of other kinds need no PyTorch.
        import torch

        from edgecrack.model.unet import CrackUNet, NetworkConfig
        from edgecrack.training.checkpoints import SafetensorsCheckpointIO

        found = []
        for pooling in ("gated-scale", "max"):
            torch.manual_seed(1)
            network = CrackUNet(NetworkConfig(width=1, pooling=pooling))
            weights = {f"network.{name}": value for name, value in network.state_dict().items()}
            state = {
                "state_dict": weights,
                "edgecrack": ModelSpec("checkpoint", pooling, 1).to_dict(),
                "epoch": 3,
                "global_step": 40,
                "optimizer_states": [
                    {"state": {0: {"step": torch.tensor(4.0), "lr": (0.1, 1e-3)}}}
                ],
                "best": float("inf"),
            }
            path = self.folder / "example.safetensors"
            SafetensorsCheckpointIO().save_checkpoint(state, path)
            found.append(path.read_bytes())
        return found

    def spoiled(self, rng: random.Random, examples: Sequence[bytes]) -> bytes:
        whole, way = rng.choice(examples), rng.random()
        end = 8 + int.from_bytes(whole[:8], "little")
        headers = [each[8 : 8 + int.from_bytes(each[:8], "little")] for each in examples]
        if way < 0.25:
            return mutate(rng, whole, examples, BINARY_MUTATORS)
        if way < 0.6:
            header = mutate(rng, whole[8:end], headers)
        else:
            # The state of the training is JSON inside the header's JSON.
            document = json.loads(whole[8:end])
            name = "edgecrack.training_state"
            state = document["__metadata__"][name].encode()
            changed = mutate(rng, state, [state])
            document["__metadata__"][name] = changed.decode("utf-8", "replace")
            header = json.dumps(document).encode()
        return len(header).to_bytes(8, "little") + header + whole[end:]

    def use(self, data: bytes) -> str:
        from edgecrack.training.checkpoints import (
            SafetensorsCheckpointIO,
            load_network,
            read_description,
            whole_epochs,
        )

        path = self.folder / "model.safetensors"
        path.write_bytes(data)
        # The weights by a sidecar that fits, so that not its hash alone refuses every change.
        write_sidecar(path, ModelSpec("checkpoint", "gated-scale", 1))
        readers: tuple[Callable[[Path], Any], ...] = (
            SafetensorsCheckpointIO().load_checkpoint,
            read_description,
            whole_epochs,
            load_network,
        )
        refused = [told for reader in readers if (told := _told(lambda r=reader: r(path)))]  # type: ignore[misc]
        # One network is of another pooling than the sidecar says; that alone is no refusal.
        return ACCEPTED if len(refused) < 2 else refused[0]


def _told(call: Callable[[], object]) -> str | None:
    try:
        call()
    except EdgecrackError as error:
        return refusal(error)
    return None


class Recordings(Kind):
    """MCAP files and parts: replayed, recovered, and the recovered file replayed again."""

    name = "recordings"
    mutators = BINARY_MUTATORS

    def examples(self) -> list[bytes]:
        return [self._recording(finish=True), self._recording(finish=False)]

    def _recording(self, finish: bool) -> bytes:
        folder = self.folder / "examples"
        folder.mkdir()
        part = PartWriter(PartNames(folder / "run.mcap"), {"model": "bright"})
        for number in range(4):
            place = Position(
                _START_NS + number, 0.0, (0.1 * number, 0, 0), (0, 0, 0, 1), 52.5, 13.4, 34.0
            )
            result = replace(result_of(frame(number)), position=replace(place, range_m=1.5))
            for topic, data in frame_messages(result):
                part.add(topic, result.frame.stamp_ns, data)
            event = Event(result.frame.stamp_ns, "info", "stream.x", "a crack")
            part.add(EVENTS_TOPIC, event.time_ns, log(event))
            part.write_out()
        path = Path(part.path)
        if finish:
            path = Path(part.finish())
        else:
            part.abandon()
        content = path.read_bytes()
        shutil.rmtree(folder)
        return content

    def spoiled(self, rng: random.Random, examples: Sequence[bytes]) -> bytes:
        if rng.random() < 0.4:
            return super().spoiled(rng, examples)
        return _with_a_spoiled_record(rng, rng.choice(examples), examples)

    def use(self, data: bytes) -> str:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        whole, part = self.folder / "run.mcap", self.folder / "left_0001.mcap.part"
        for path in (whole, part):
            path.write_bytes(data)
        _told(lambda: _replay(whole))
        _told(lambda: recorded_positions(whole))
        _told(lambda: finish_leftover(part, self.folder / "left_0001.mcap"))
        recovered = self.folder / "recovered.mcap"
        reports: list[RecoveryReport] = []
        refused = _told(lambda: reports.append(recover(whole, recovered)))
        if refused is not None:
            return refused
        _replay_recovered(recovered, reports[0])
        return ACCEPTED


def _replay(path: Path) -> None:
    with open_source(path) as source:
        for _ in range(_MOST_FRAMES):
            if source.read() is None:
                return


def _replay_recovered(path: Path, first: RecoveryReport) -> None:
    """What `recover` wrote is whole by its own account, but for what it said is lost."""
    again = recover(path)
    is_told = first.damage and all(each.endswith(" is missing") for each in again.damage)
    if again.bytes_lost or not (again.was_whole or is_told):
        raise AssertionError(f"a recovered recording is not whole: {again}, after {first}")
    _told(lambda: _replay(path))


def _with_a_spoiled_record(rng: random.Random, data: bytes, examples: Sequence[bytes]) -> bytes:
    """Spoil the content of one record, so that its length fits again, and no checksum is there."""
    spans, at = [], 8
    while at + 9 <= len(data):
        length = int.from_bytes(data[at + 1 : at + 9], "little")
        spans.append((at, at + 9 + length))
        at += 9 + length
    first, end = rng.choice(spans)
    content = bytearray(data[first + 9 : end])
    if data[first] == 6 and len(content) > 28:  # a chunk: 0 says that its checksum is not known
        content[24:28] = bytes(4)
    changed = mutate(rng, bytes(content), examples, BINARY_MUTATORS)
    length = len(changed) if rng.random() < 0.9 else rng.choice((0, 2**31, 2**63, 2**64 - 1))
    head = data[first : first + 1] + length.to_bytes(8, "little")
    return (data[:first] + head + changed + data[end:])[:LARGEST_BYTES]


class Images(Kind):
    """Pictures of every kind that is read, and what they say of themselves."""

    name = "images"
    mutators = BINARY_MUTATORS
    _SUFFIXES = (
        (b"\x89PNG", ".png"), (b"\xff\xd8", ".jpg"), (b"II", ".tif"), (b"MM", ".tif"),
        (b"RIFF", ".webp"), (b"BM", ".bmp"),
    )  # fmt: skip

    def examples(self) -> list[bytes]:
        rows, columns = np.mgrid[:48, :64]
        colour = np.stack([rows * 5, columns * 3, rows + columns], -1).astype(np.uint8)
        deep = (rows * 1000 + columns).astype(np.uint16)
        path = self.folder / "example.png"
        write_png(path, colour)
        result = result_of(frame(3))
        found = [path.read_bytes(), result.jpeg(), result.mask_png()]
        alpha = np.dstack([colour, np.where(rows > 9, 255, 0).astype(np.uint8)])
        for suffix, image, options in (
            (".png", alpha, []),
            (".png", deep, []),
            (".tif", colour, [cv2.IMWRITE_TIFF_COMPRESSION, 5]),
            (".tif", deep, [cv2.IMWRITE_TIFF_COMPRESSION, 1]),
            (".tif", colour, [cv2.IMWRITE_TIFF_COMPRESSION, 8]),
            (".webp", colour, []),
            (".bmp", colour, []),
            (".jpg", colour, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        ):
            found.append(cv2.imencode(suffix, image, options)[1].tobytes())
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "camera"
        exif[0x8769] = {0x9003: "2026:11:30 12:00:00", 0x920A: 8.0}
        exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0), 6: 34.0}
        photo = io.BytesIO()
        Image.fromarray(colour).save(photo, "JPEG", exif=exif)
        return [*found, photo.getvalue(), photo.getvalue()]

    def spoiled(self, rng: random.Random, examples: Sequence[bytes]) -> bytes:
        data = super().spoiled(rng, examples)
        return _with_checksums(data) if rng.random() < 0.7 else data

    def use(self, data: bytes) -> str:
        suffix = next((name for start, name in self._SUFFIXES if data.startswith(start)), ".png")
        path = self.folder / f"picture{suffix}"
        path.write_bytes(data)
        try:
            photo_facts(data)
            _replay(path)
        except EdgecrackError as error:
            return refusal(error)
        finally:
            path.unlink()
        return ACCEPTED


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have correct checksums, so that their contents are read."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    changed, at = bytearray(data), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            break
        struct.pack_into(">I", changed, at + 8 + length, zlib.crc32(data[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(changed)
