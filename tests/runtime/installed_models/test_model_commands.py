"""`edgecrack model`: what works is switched to, what fails changes nothing, a start falls back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgecrack.artifacts import ModelFile, read_model_file, sidecar_path, write_sidecar
from edgecrack.cli import main
from edgecrack.errors import ConfigError, ModelFileError, OutputError
from edgecrack.preprocess import PreprocessConfig
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from edgecrack.runtime.installed_models import store as store_module
from edgecrack.runtime.installed_models.managing import go_back, list_models, use_model
from edgecrack.runtime.installed_models.opening import open_model_in_use
from edgecrack.runtime.installed_models.store import (
    BUNDLED,
    MOST_KEPT,
    ModelStore,
    find_store,
)
from tests.runtime.models import spec_of, write_quick_model
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[3]


def dark_finder(path: Path, darker_by: int = 110) -> Path:
    """Takes what is darker than its tile for a crack: passes the self-test, in milliseconds."""
    onnx: Any = pytest.importorskip("onnx", reason="the export extra is not installed")
    helper, types = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["tiles"], ["f"], name="in", to=types.FLOAT),
        helper.make_node("ReduceMean", ["f"], ["mean"], name="mean", axes=[1, 2, 3]),
        helper.make_node("Add", ["f", "gap"], ["brighter"], name="gap"),
        helper.make_node("Less", ["brighter", "mean"], ["dark"], name="less"),
        helper.make_node("Cast", ["dark"], ["one"], name="one", to=types.FLOAT),
        helper.make_node("Mul", ["one", "full"], ["m"], name="full"),
        helper.make_node("Cast", ["m"], ["crack"], name="out", to=types.UINT8),
    ]
    ends = [
        helper.make_tensor_value_info(name, types.UINT8, ["batch", 1, 64, 64])
        for name in ("tiles", "crack")
    ]
    constants = [
        helper.make_tensor("gap", types.FLOAT, [], [float(darker_by)]),
        helper.make_tensor("full", types.FLOAT, [], [255.0]),
    ]
    graph = helper.make_graph(nodes, "dark", ends[:1], ends[1:], constants)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    path.write_bytes(model.SerializeToString())
    plain = PreprocessConfig(clahe_clip=0, gamma=1, stretch="minmax")
    write_sidecar(path, replace(spec_of((64, 64)), preprocess=plain))
    return path


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    folder = tmp_path / "installed"
    monkeypatch.setenv("EDGECRACK_MODELS", str(folder))
    return ModelStore(folder)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return dark_finder(tmp_path / "first.onnx")


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return dark_finder(tmp_path / "second.onnx", 105)


def opened() -> tuple[str, str, str]:
    """Name, origin and fallback of the model that a start takes; what is told is in the last."""
    told: list[str] = []
    detector, in_use = open_model_in_use(None, on_fallback=told.append, threads=1)
    detector.close()
    assert told == ([in_use.fallback] if in_use.fallback else [])
    assert in_use.sha256 == detector.runner.spec.sha256
    return in_use.name, in_use.origin, in_use.fallback


def test_nothing_installed_is_the_bundled_model() -> None:
    assert opened() == (BUNDLED_MODEL.name, "bundled", "")


def test_a_model_is_installed_used_and_taken_back(first: Path, second: Path) -> None:
    done = use_model(first)
    assert (done.name, done.before) == ("first.onnx", BUNDLED_MODEL.name)
    assert opened() == ("first.onnx", "installed", "")
    assert use_model(second).before == "first.onnx"
    first.unlink()  # the store has its own
    assert opened()[0] == "second.onnx"
    assert go_back().name == "first.onnx"
    assert opened() == ("first.onnx", "installed", "")
    assert go_back().name == BUNDLED_MODEL.name
    assert opened() == (BUNDLED_MODEL.name, "bundled", "")
    with pytest.raises(ConfigError, match="no other model was in use before"):
        go_back()


def test_the_bundled_one_can_be_chosen_and_left_again(first: Path) -> None:
    use_model(first)
    assert use_model(Path(BUNDLED)).before == "first.onnx"
    assert opened() == (BUNDLED_MODEL.name, "bundled", "")
    assert go_back().name == "first.onnx"


def test_one_that_is_given_comes_before_the_installed_one(first: Path, second: Path) -> None:
    use_model(first)
    detector, in_use = open_model_in_use(second, on_fallback=pytest.fail, threads=1)
    detector.close()
    assert (in_use.name, in_use.origin) == ("second.onnx", "given")


def blind(path: Path) -> Path:
    return dark_finder(path, 400)


def sees_cracks_everywhere(path: Path) -> Path:
    return dark_finder(path, -400)


def changed(path: Path) -> Path:
    dark_finder(path)
    path.write_bytes(path.read_bytes() + b" ")
    return path


def foreign(path: Path) -> Path:
    onnx: Any = pytest.importorskip("onnx", reason="the export extra is not installed")
    model = onnx.load(dark_finder(path))
    model.graph.node[3].domain = "com.microsoft"
    path.write_bytes(model.SerializeToString())
    write_sidecar(path, spec_of((64, 64)))
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (blind, "finds 0% of the crack"),
        (write_quick_model, "of the crack|of a clean wall"),
        (sees_cracks_everywhere, "of a clean wall"),
        (changed, "does not match its sidecar"),
        (foreign, "not standard ONNX: com.microsoft.Less"),
        (lambda path: path, "does not exist"),
    ],
)
def test_what_fails_is_not_installed_and_changes_nothing(
    tmp_path: Path, store: ModelStore, first: Path, make: Any, words: str
) -> None:
    use_model(first)
    before = store.state()
    with pytest.raises(ModelFileError, match=words):
        use_model(make(tmp_path / "bad.onnx"))
    assert store.state() == before
    assert opened() == ("first.onnx", "installed", "")


def damage(store: ModelStore, name: str) -> None:
    (path,) = store.folder.glob(f"files/*/{name}")
    path.write_bytes(b"nonsense")


def remove(store: ModelStore, name: str) -> None:
    (path,) = store.folder.glob(f"files/*/{name}")
    path.unlink()


def make_blind(store: ModelStore, name: str) -> None:
    """As a machine would that runs the model wrongly: whole, of the right hash, and blind."""
    (path,) = store.folder.glob(f"files/*/{name}")
    sidecar = json.loads(sidecar_path(path).read_text())
    state = json.loads((store.folder / "state.json").read_text())
    blind(path)
    del sidecar
    id = store_module._id_of(read_model_file(path))
    path.parent.rename(path.parent.with_name(id))
    old = state["in_use"]
    text = json.dumps(state).replace(old, id)
    (store.folder / "state.json").write_text(text)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (damage, "does not match its sidecar"),
        (remove, "does not exist"),
        (make_blind, "of the crack that is drawn"),
    ],
)
def test_a_start_falls_back_to_the_last_that_works_and_says_so(
    store: ModelStore, first: Path, second: Path, harm: Any, words: str
) -> None:
    use_model(first)
    use_model(second)
    harm(store, "second.onnx")
    name, origin, fallback = opened()
    assert (name, origin) == ("first.onnx", "installed")
    assert words in fallback
    assert "installed first.onnx runs instead" in fallback
    harm_first = damage if harm is make_blind else harm
    harm_first(store, "first.onnx")
    assert opened()[:2] == (BUNDLED_MODEL.name, "bundled")
    assert go_back().name == BUNDLED_MODEL.name  # passing over the damaged one


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema_version": 9}', "[" * 50_000, '{"schema_version": NaN}']
)
def test_a_damaged_list_is_said_and_the_bundled_model_runs(
    store: ModelStore, first: Path, text: str
) -> None:
    use_model(first)
    (store.folder / "state.json").write_text(text)
    name, origin, fallback = opened()
    assert (name, origin) == (BUNDLED_MODEL.name, "bundled")
    assert "state.json cannot be read" in fallback
    with pytest.raises(ModelFileError, match=r"state\.json cannot be read"):
        use_model(first)


def test_a_name_in_the_list_leads_nowhere_else(store: ModelStore, first: Path) -> None:
    use_model(first)
    path = store.folder / "state.json"
    path.write_text(path.read_text().replace("first.onnx", "../../../first.onnx"))
    assert "the name" in opened()[2]


def test_an_option_that_does_not_fit_is_no_reason_to_run_another_model(first: Path) -> None:
    use_model(first)
    with pytest.raises(ConfigError, match="threshold is 7"):
        open_model_in_use(None, on_fallback=pytest.fail, threshold=7.0)


def test_the_last_few_are_kept_and_never_the_one_in_use_removed(
    store: ModelStore, tmp_path: Path, first: Path
) -> None:
    file = read_model_file(first)
    for number in range(9):
        spec = replace(file.spec, extra={"number": number})
        store.use(ModelFile(tmp_path / f"m{number}.onnx", spec, file.content))
    state = store.state()
    assert [model.name for model in state.models] == [f"m{number}.onnx" for number in range(4, 9)]
    assert len(list((store.folder / "files").iterdir())) == MOST_KEPT
    store.use_bundled()
    assert len(store.state().models) == MOST_KEPT
    store.back_to(state.in_use)
    assert opened()[0] == "m8.onnx"


def test_the_same_model_again_is_one_model(store: ModelStore, first: Path) -> None:
    use_model(first)
    use_model(first)
    assert len(store.state().models) == 1
    assert store.state().before == (BUNDLED,)


def test_installing_again_mends_a_damaged_one(store: ModelStore, first: Path) -> None:
    use_model(first)
    damage(store, "first.onnx")
    use_model(first)
    assert opened() == ("first.onnx", "installed", "")


def test_a_full_disk_leaves_the_old_one_in_use(
    store: ModelStore, first: Path, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_model(first)
    with monkeypatch.context() as patch:

        def full(*arguments: Any) -> None:
            raise OSError(28, os.strerror(28))

        patch.setattr("edgecrack.files._sync", full)
        with pytest.raises(OutputError, match="No space left"):
            use_model(second)
    assert opened() == ("first.onnx", "installed", "")
    assert [path.name for path in (store.folder / "files").iterdir()] == [store.state().in_use]
    assert use_model(second).before == "first.onnx"


_KILLED = """
import os, signal, sys
from pathlib import Path
from edgecrack.runtime.installed_models import store
place, count = sys.argv[2], 0
def kill(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)
if place == "folder":
    store._sync_folder = kill
elif place == "renamed":
    ordinary = store._sync_folder
    def second(folder):
        ordinary(folder)
        if folder.name == "files":
            kill()
    store._sync_folder = second
elif place == "state":
    store.write_atomic = kill
from edgecrack.runtime.installed_models.managing import use_model
use_model(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("place", ["folder", "renamed", "state"])
def test_a_kill_at_any_moment_leaves_the_old_one_in_use_and_whole(
    store: ModelStore, first: Path, second: Path, place: str
) -> None:
    use_model(first)
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(second), place], cwd=ROOT, timeout=PATIENCE_S
    )
    assert done.returncode == -signal.SIGKILL
    assert opened() == ("first.onnx", "installed", "")
    use_model(second)  # the lock is gone with the killed one, and so is what it left
    assert opened() == ("second.onnx", "installed", "")
    assert len(list((store.folder / "files").iterdir())) == 2


def test_two_at_once_wait_for_each_other(store: ModelStore, tmp_path: Path, first: Path) -> None:
    file = read_model_file(first)
    files = [
        ModelFile(
            tmp_path / f"m{number}.onnx", replace(file.spec, extra={"n": number}), file.content
        )
        for number in range(4)
    ]
    threads = [threading.Thread(target=store.use, args=(each,)) for each in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    state = store.state()
    assert len(state.models) == len(state.before) == 4
    assert {state.in_use, *state.before} == {BUNDLED, *(model.id for model in state.models)}


def test_a_lock_that_is_never_let_go_is_told(
    store: ModelStore, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_WAIT_S", 0.05)
    with store._locked(), pytest.raises(OutputError, match="another program has held"):
        use_model(first)


def test_the_list_tells_what_works(store: ModelStore, first: Path, second: Path) -> None:
    use_model(first)
    use_model(second)
    damage(store, "first.onnx")
    folder, models = list_models()
    assert folder == store.folder
    told = {each.name: (each.state, not each.problem) for each in models}
    assert told == {
        "second.onnx": ("in use", True),
        "first.onnx": ("before", False),
        BUNDLED_MODEL.name: ("", True),
    }


def command(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """The command line in this process: exit code, standard output and standard error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["edgecrack", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_line(
    store: ModelStore, first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = command(capsys, "model", "use", first)
    assert code == 0
    assert "in use: first.onnx" in out
    code, out, _ = command(capsys, "model", "list", "--json")
    listed = json.loads(out)
    assert [model["state"] for model in listed["models"]] == ["in use", "before"]
    code, out, _ = command(capsys, "model", "list")
    assert "* first.onnx" in out
    assert str(store.folder) in out
    code, _, err = command(capsys, "model", "use", blind(tmp_path / "blind.onnx"))
    assert code == 4
    assert "finds 0%" in err
    code, out, _ = command(capsys, "model", "back", "--json")
    assert (code, json.loads(out)["name"]) == (0, BUNDLED_MODEL.name)
    code, _, err = command(capsys, "model", "back")
    assert code == 2
    assert "edgecrack model use" in err


@pytest.mark.parametrize("harmed", [False, True])
def test_a_stream_tells_what_it_uses(
    store: ModelStore, first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], harmed: bool
) -> None:
    use_model(first)
    if harmed:
        damage(store, "first.onnx")
    out = tmp_path / "run"
    words = ["--source", "demo?frames=1", "--out", out, "--save", "jsonl", "--threads", "1"]
    code, _, err = command(capsys, "stream", *words)
    assert code == 0
    summary = json.loads((out / "summary.json").read_text())
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    fallen = [event for event in events if event["kind"] == "model.fallback"]
    assert summary["model_origin"] == ("bundled" if harmed else "installed")
    wanted = BUNDLED_MODEL if harmed else first
    assert summary["model"] == wanted.name
    assert summary["model_sha256"] == read_model_file(wanted).spec.sha256
    assert bool(fallen) is bool(summary["model_fallback"]) is harmed
    if harmed:
        assert fallen[0]["level"] == "error"
        assert "the installed model does not start" in err


def test_predict_says_that_it_falls_back(
    store: ModelStore, first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2 = pytest.importorskip("cv2")
    from edgecrack.runtime.installed_models.self_test import built_in_picture

    cv2.imwrite(str(tmp_path / "wall.png"), built_in_picture(cracked=True)[0])
    use_model(first)
    remove(store, "first.onnx")
    code, _, err = command(
        capsys, "predict", tmp_path / "wall.png", "--out", tmp_path / "out", "--threads", "1"
    )
    assert code == 0
    assert "warning: the installed model does not start" in err


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"EDGECRACK_MODELS": "/srv/m", "XDG_DATA_HOME": "/d", "HOME": "/home/a"}, "/srv/m"),
        ({"XDG_DATA_HOME": "/d", "HOME": "/h/a"}, "/d/edgecrack/models"),
        ({"XDG_DATA_HOME": "d", "HOME": "/h/a"}, "/h/a/.local/share/edgecrack/models"),
        ({"HOME": "/"}, None),
    ],
)
def test_where_models_lie(environment: dict[str, str], folder: str | None) -> None:
    found = find_store(environment)
    assert (found and str(found.folder)) == folder


def test_a_relative_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="EDGECRACK_MODELS is 'models'"):
        find_store({"EDGECRACK_MODELS": "models"})
