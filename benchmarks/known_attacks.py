"""Attacks that once succeeded, against one checkout or two: which of them hold.

    python benchmarks/known_attacks.py                      # this checkout
    python benchmarks/known_attacks.py ../before            # another one, beside this one
    python benchmarks/known_attacks.py --only token_guess_locks_out

Each attack starts the program as a user does, over the loopback, in a separate folder. "held"
means that the program behaved as docs/security.md promises; otherwise the line says what was seen.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402

TOKEN = "9f3b5c7a1d2e4f60a8b1"
PATIENCE_S = 60.0
_MODELS = "edgecrack/models/edgecrack-bundled.onnx"

Attack = Callable[[Path, Path], str]
"""Takes the checkout and an empty folder; returns "" where it held, else what was seen."""


def environment(checkout: Path, folder: Path) -> dict[str, str]:
    """The checkout's code, and a separate home folder."""
    return {**os.environ, "PYTHONPATH": str(checkout), "HOME": str(folder), "COLUMNS": "200"}


def edgecrack(checkout: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "edgecrack", *words],
        cwd=folder,
        env=environment(checkout, folder),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
    )


@contextmanager
def running(checkout: Path, folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that goes on until the block ends; its standard error is in `stderr.txt`."""
    with (folder / "stderr.txt").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "edgecrack", *words],
            cwd=folder,
            env=environment(checkout, folder),
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def expects_exit_4(done: subprocess.CompletedProcess[str]) -> str:
    """Held where a bad model file is refused by one sentence."""
    if done.returncode == 4 and "Traceback" not in done.stderr:
        return ""
    return f"exit {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"


def model_copy(checkout: Path, folder: Path) -> Path:
    """The bundled model and its sidecar, to be changed."""
    for suffix in ("", ".json"):
        shutil.copy(checkout / (_MODELS + suffix), folder / f"model.onnx{suffix}")
    return folder / "model.onnx"


def rewrite_sidecar(model: Path, change: Callable[[str], str] = str) -> None:
    """Change the sidecar's text, with the hash of the model as it is."""
    sidecar = model.with_name(model.name + ".json")
    document = json.loads(sidecar.read_text())
    document["sha256"] = hashlib.sha256(model.read_bytes()).hexdigest()
    sidecar.write_text(change(json.dumps(document)))


def stream_model(checkout: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Two frames of the demo through the model in the folder."""
    words = ["stream", "--source", "demo", "--model", "model.onnx", "--max-frames", "2"]
    return edgecrack(checkout, folder, *words, "--out", "out")


def external_tensors(checkout: Path, folder: Path) -> str:
    import onnx

    model = model_copy(checkout, folder)
    onnx.save_model(
        onnx.load(model),
        model,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=1024,
    )
    rewrite_sidecar(model)
    return expects_exit_4(stream_model(checkout, folder))


def graph_that_fails_while_running(checkout: Path, folder: Path) -> str:
    import onnx
    from onnx import TensorProto, helper

    shape: list[str | int | None] = ["N", 1, 256, 256]
    nodes = [
        helper.make_node("Gather", ["tiles", "ninth"], ["one"], axis=0),
        helper.make_node("Sub", ["tiles", "one"], ["crack"]),
    ]
    constants = [helper.make_tensor("ninth", TensorProto.INT64, [1], [999])]
    ends = [helper.make_tensor_value_info(n, TensorProto.UINT8, shape) for n in ("tiles", "crack")]
    graph = helper.make_graph(nodes, "fails", ends[:1], ends[1:], constants)
    model = model_copy(checkout, folder)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), model
    )
    rewrite_sidecar(model)
    return expects_exit_4(stream_model(checkout, folder))


def sidecar_with_1e400(checkout: Path, folder: Path) -> str:
    for field in ("tile_hw", "width", "schema_version", "clahe_grid", "gamma"):

        def spoil(text: str, name: str = field) -> str:
            return re.sub(rf'"{name}": (\[?)[\d.]+', rf'"{name}": \g<1>1e400', text)

        rewrite_sidecar(model_copy(checkout, folder), spoil)
        if seen := expects_exit_4(stream_model(checkout, folder)):
            return f"{field}: {seen}"
    return ""


def checkpoint_nested_50000_deep(checkout: Path, folder: Path) -> str:
    return expects_exit_4(resumed(checkout, folder, b"[" * 50_000 + b"]" * 50_000))


def checkpoint_with_a_header_of_another_kind(checkout: Path, folder: Path) -> str:
    return expects_exit_4(resumed(checkout, folder, b'{"__dict__": [[1, 2, 3]]}'))


def resumed(checkout: Path, folder: Path, state: bytes) -> subprocess.CompletedProcess[str]:
    """`train --resume` of a run whose checkpoint describes its state by such JSON."""
    run = folder / "run"
    words = ["--data", "synthetic:10", "--out", str(run), "--set", "epochs=1"]
    quick = ["--set", "steps_per_epoch=1", "--set", "batch_size=2", "--set", "network.width=2"]
    first = edgecrack(checkout, folder, "train", *words, *quick)
    if first.returncode:
        raise RuntimeError(first.stderr[-200:])
    last = run / "last.safetensors"
    content = last.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    (key,) = header["__metadata__"]
    header["__metadata__"][key] = state.decode()
    changed = json.dumps(header).encode()
    last.write_bytes(len(changed).to_bytes(8, "little") + changed + content[8 + length :])
    return edgecrack(checkout, folder, "train", *words, *quick, "--resume")


def model_swapped_after_the_start(checkout: Path, folder: Path) -> str:
    model_copy(checkout, folder)
    code = """
import numpy as np
from pathlib import Path
from edgecrack import open_detector
rows = np.random.default_rng(0).integers(0, 255, (1500, 1500, 3)).astype(np.uint8)
look = lambda detector, image: getattr(detector, "probability_of", detector.detect)(image)
with open_detector(Path("model.onnx")) as detector:
    wanted = np.asarray(look(detector, rows))
with open_detector(Path("model.onnx")) as detector:
    look(detector, rows[:64, :64])
    Path("model.onnx").write_bytes(b"not the model any more")
    assert np.array_equal(np.asarray(look(detector, rows)), wanted), "another result"
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment(checkout, folder),
        capture_output=True,
        text=True,
    )
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1][:120]


def threshold_changed_in_a_part(checkout: Path, folder: Path) -> str:
    words = ["--record", "run.mcap", "--loop", "--save", "none", "--out", "out"]
    with running(checkout, folder, "stream", "--source", "demo", *words) as process:
        wait_for(lambda: any(part.stat().st_size > 400_000 for part in folder.glob("*.part")))
        process.kill()
    part = next(folder.glob("*.part"))
    data = bytearray(part.read_bytes())
    found = re.search(rb"threshold.{4}0\.(\d)", bytes(data), re.DOTALL)
    if found is None:
        return "the recording does not state its threshold"
    data[found.start(1)] = ord("1")
    part.write_bytes(data)
    done = edgecrack(checkout, folder, "recover", part.name)
    words_of_damage = ("damage", "checksum", "does not match")
    told = any(word in (done.stdout + done.stderr).lower() for word in words_of_damage)
    return "" if told else f"exit {done.returncode}: {(done.stdout + done.stderr).strip()[:120]}"


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it is true."""
    until_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until_s:
            raise TimeoutError("it never came to that")
        time.sleep(0.05)


@contextmanager
def page(checkout: Path, folder: Path) -> Iterator[int]:
    """A stream with its page and a token."""
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    words = ["--serve", f"127.0.0.1:{port}", "--token-file", "token", "--save", "none"]
    demo = ["stream", "--source", "demo", "--loop", "--out", "out"]
    with running(checkout, folder, *demo, *words):
        wait_for(lambda: status(port, "/healthz") == 200)
        yield port


def ask(port: int, path: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
    """One request on a separate connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def status(port: int, path: str, headers: dict[str, str] | None = None) -> int:
    """The answer's status, 0 for none."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return ask(port, path, headers).status
    return 0


def right_token(port: int) -> str:
    """Held where the right token is let in."""
    found = status(port, "/api/status", {"Authorization": f"Bearer {TOKEN}"})
    return "" if found == 200 else f"the right token: {found or 'no answer'}"


def foreign_page_locks_out(checkout: Path, folder: Path) -> str:
    with page(checkout, folder) as port:
        for _ in range(8):
            status(port, "/?token=x", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"})
        return right_token(port)


def token_guess_locks_out(checkout: Path, folder: Path) -> str:
    with page(checkout, folder) as port:
        for number in range(12):
            status(port, "/api/status", {"Authorization": f"Bearer wrong-{number}"})
        return right_token(port)


def session_tells_of_the_token(checkout: Path, folder: Path) -> str:
    with page(checkout, folder) as port:
        cookies = {ask(port, f"/?token={TOKEN}").getheader("Set-Cookie", "") for _ in range(2)}
        values = {cookie.split(";")[0].partition("=")[2] for cookie in cookies}
        return "" if len(values) == 2 and "" not in values else "two sessions have one cookie"


def idle_connections_take_the_page(checkout: Path, folder: Path) -> str:
    with page(checkout, folder) as port, contextlib.ExitStack() as held:
        for _ in range(500):
            with contextlib.suppress(OSError):
                one = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
                one.sendall(b"GET / HTTP/1.1\r\n")
        found = status(port, "/healthz")
        return right_token(port) or ("" if found == 200 else f"/healthz: {found or 'no answer'}")


def number_of_5000_digits(checkout: Path, folder: Path) -> str:
    with page(checkout, folder) as port:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        path = f"/api/findings/{'9' * 5000}.jpg"
        found = status(port, path, bearer), status(port, f"/findings/{'9' * 5000}.jpg", bearer)
        traced = "Traceback" in (folder / "stderr.txt").read_text()
        is_fine = all(400 <= each < 500 for each in found) and not traced
        return "" if is_fine else f"{found}, traceback: {traced}"


def _cpu_s(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def camera(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """An HTTP camera whose pictures are what `answer` sends."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                with one, contextlib.suppress(OSError):
                    one.recv(4096)
                    one.sendall(head)
                    answer(one)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/stream"


def boundaries_alone(checkout: Path, folder: Path) -> str:
    def flood(one: socket.socket) -> None:
        one.sendall(b"--frame\r\n" * (1024 * 1024 // 9))
        one.recv(1)

    with camera(flood) as address, running(checkout, folder, *_watch(address, "60")) as process:
        time.sleep(12)
        used_s = _cpu_s(process)
    return "" if used_s < 6 else f"{used_s:.0f} s of CPU in 12 s, for 1 MiB"


def a_byte_a_second(checkout: Path, folder: Path) -> str:
    def drip(one: socket.socket) -> None:
        for letter in b"--frame\r\nContent-Type: image/jpeg\r\n" * 9:
            one.sendall(bytes([letter]))
            time.sleep(1)

    with camera(drip) as address, running(checkout, folder, *_watch(address)) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(25)
        ended = process.poll() is not None
    return "" if ended else "still waiting after 25 s, with a time-out of 3 s"


def _watch(address: str, give_up_s: str = "6") -> list[str]:
    limits = ["--stall-after", "3", "--give-up-after", give_up_s, "--max-frames", "5"]
    return ["stream", "--source", address, *limits, "--save", "none", "--out", "out"]


def interrupt_during_the_imports(checkout: Path, folder: Path) -> str:
    for wait_s in (0.15, 0.3, 0.45):
        command = [sys.executable, "-m", "edgecrack", "stream", "--source", "demo", "--loop"]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(checkout, folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Shells start background jobs with SIGINT ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
        )
        time.sleep(wait_s)
        process.send_signal(signal.SIGINT)
        try:
            said = process.communicate(timeout=20)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f"after {wait_s} s: the interrupt was lost"
        if "Traceback" in said or process.returncode not in (0, 130):
            return f"after {wait_s} s: exit {process.returncode}, {len(said.splitlines())} lines"
    return ""


def usr1_ends_the_stream(checkout: Path, folder: Path) -> str:
    demo = ["stream", "--source", "demo", "--loop", "--out", "out"]
    with running(checkout, folder, *demo) as process:
        wait_for(lambda: (folder / "out" / "frames.jsonl").is_file())
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            process.send_signal(number)
            time.sleep(1)
            if process.poll() is not None:
                return f"ended by {number.name}"
    return ""


def positions_from_the_future(checkout: Path, folder: Path) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        port = int(sender.getsockname()[1])
    picture = ROOT / "docs" / "images" / "map.jpg"
    jpeg = picture.read_bytes()

    def pictures(one: socket.socket) -> None:
        while True:
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            one.sendall(head.encode() + jpeg + b"\r\n")
            time.sleep(0.3)

    stop = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            number = 0
            while not stop.wait(0.05):
                number += 1
                ahead_s = 3600.0 if number % 5 == 0 else 0.0
                line = {"t": time.time() + ahead_s, "x": number * 0.01, "y": 0.0}
                out.sendto(json.dumps(line).encode(), ("127.0.0.1", port))

    with camera(pictures) as address:
        sender_thread = threading.Thread(target=send, daemon=True)
        sender_thread.start()
        words = ["--position", f"udp://127.0.0.1:{port}", "--save", "jsonl", "--out", "out"]
        edgecrack(checkout, folder, "stream", "--source", address, "--max-frames", "12", *words)
        stop.set()
    lines = (folder / "out" / "frames.jsonl").read_text().splitlines()
    placed = sum(has_position(json.loads(line)) for line in lines[4:])
    return "" if placed else f"none of {len(lines) - 4} frames has a position"


def has_position(value: object) -> bool:
    """Whether a frame's line says where the robot was."""
    found = value.get("position") if isinstance(value, dict) else None
    return found is not None


ATTACKS: list[Attack] = [
    model_swapped_after_the_start,
    external_tensors,
    graph_that_fails_while_running,
    sidecar_with_1e400,
    checkpoint_nested_50000_deep,
    checkpoint_with_a_header_of_another_kind,
    threshold_changed_in_a_part,
    foreign_page_locks_out,
    token_guess_locks_out,
    session_tells_of_the_token,
    idle_connections_take_the_page,
    number_of_5000_digits,
    boundaries_alone,
    a_byte_a_second,
    interrupt_during_the_imports,
    usr1_ends_the_stream,
    positions_from_the_future,
]


def tried(attack: Attack, checkout: Path) -> str:
    """What came of one attack."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        try:
            return attack(checkout, Path(name)) or "held"
        except Exception as error:
            return f"not tried: {type(error).__name__}: {str(error)[:100]}"


def main() -> None:
    """Try them all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path, nargs="?", help="another checkout, tried as well")
    parser.add_argument("--only", help="the name of one attack")
    options = parser.parse_args()
    checkouts = {"before": options.before, "now": ROOT}
    rows = []
    for attack in ATTACKS:
        if options.only in (None, attack.__name__):
            row = {"attack": attack.__name__}
            for name, checkout in checkouts.items():
                if checkout is not None:
                    row[name] = tried(attack, checkout.resolve())
            rows.append(row)
            print(row, flush=True)
    if not options.only:
        write_result("known_attacks", {"attacks": rows})
    if any(row["now"] != "held" for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
