"""Kinds of input that fail in each way that the fuzzer must notice; each input fails."""

from __future__ import annotations

import logging
import os
import threading
import time

from benchmarks.fuzz_kind import ACCEPTED, Kind, refusal
from edgecrack.errors import DataError


class _Spoilt(Kind):
    name = "spoilt"

    def examples(self) -> list[bytes]:
        return [b"sound"]

    def use(self, data: bytes) -> str:
        if data != b"sound":
            self.fail()
        return ACCEPTED

    def spoiled(self, *given: object) -> bytes:
        return b"spoilt"

    def fail(self) -> None:
        raise NotImplementedError


class Raises(_Spoilt):
    def fail(self) -> None:
        raise KeyError("spoilt")


class RaisesInThread(_Spoilt):
    def fail(self) -> None:
        thread = threading.Thread(target=lambda: 1 // 0)
        thread.start()
        thread.join()


class Logs(_Spoilt):
    def fail(self) -> None:
        try:
            raise ValueError("logged only")
        except ValueError:
            logging.getLogger("edgecrack").exception("gone wrong")


class Hangs(_Spoilt):
    def fail(self) -> None:
        time.sleep(3600)


class Dies(_Spoilt):
    def fail(self) -> None:
        os.abort()


class Eats(_Spoilt):
    def fail(self) -> None:
        bytearray(5 << 28)


class SaysNoRemedy(_Spoilt):
    def use(self, data: bytes) -> str:
        return ACCEPTED if data == b"sound" else refusal(DataError("it is spoilt", ""))


class Refuses(_Spoilt):
    def use(self, data: bytes) -> str:
        return ACCEPTED if data == b"sound" else refusal(DataError("it is spoilt", "take another"))


class NeverSound(_Spoilt):
    def use(self, data: bytes) -> str:
        return "exit 3"
