"""What a run refuses before it reads anything, starting from other weights, and teachers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgecrack.artifacts import ModelSpec, sidecar_path
from edgecrack.data.patches import PatchCount
from edgecrack.errors import ConfigError, ModelFileError, TrainingError
from edgecrack.model.unet import CrackUNet, NetworkConfig
from edgecrack.preprocess import PreprocessConfig
from edgecrack.training.checkpoints import SafetensorsCheckpointIO, load_network
from edgecrack.training.config import LossConfig, OptimizerConfig
from edgecrack.training.loss_curves import read_logs
from edgecrack.training.run_folder import own_folder
from edgecrack.training.run_lock import only_run_in
from tests.training.runs import make_walls, run, tiny_config, weights_of

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def walls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_walls(tmp_path_factory.mktemp("data") / "walls")


def checkpoint(folder: Path, width: int = 2, **changes: Any) -> Path:
    """A finished network's checkpoint, as a run leaves it."""
    network = CrackUNet(NetworkConfig(width=width))
    spec = ModelSpec("checkpoint", "gated-scale", width, **changes).to_dict()
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    path = folder / "best.safetensors"
    SafetensorsCheckpointIO().save_checkpoint({"state_dict": weights, "edgecrack": spec}, path)
    return path


def test_init_gives_the_first_weights_and_a_resume_does_not_ask_for_it_again(
    walls: Path, tmp_path: Path
) -> None:
    start = checkpoint(tmp_path / "start")
    still = OptimizerConfig(name="sgd", learning_rate=1e-12, warmup_steps=0)
    options: dict[str, Any] = {"init": start, "optimizer": still, "steps_per_epoch": 1}
    result = run(tiny_config(walls, tmp_path / "run", epochs=1, **options))
    wanted = load_network(start)[0].state_dict()
    for name, value in weights_of(result.last).items():
        assert torch.allclose(value, wanted[name.removeprefix("network.")], atol=1e-8), name
    start.unlink()
    longer = run(tiny_config(walls, tmp_path / "run", epochs=2, resume=True, **options))
    assert longer.steps == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": NetworkConfig(4)}, r"has width 2, but 4 was requested; give `width` 2, or"),
        ({"network": NetworkConfig(2, "max")}, r"has pooling gated-scale, but max .*`pooling`"),
        ({"network": NetworkConfig(2, gate_bias=True)}, r"network\.gate_bias`=false, or another"),
    ],
)
def test_init_of_another_network(
    walls: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    start = checkpoint(tmp_path / "start")
    with pytest.raises(ModelFileError, match=words):
        run(tiny_config(walls, tmp_path / "run", init=start, **changes))
    assert not (tmp_path / "run").exists()


def test_init_that_is_not_there(walls: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"gone\.safetensors does not exist"):
        run(tiny_config(walls, tmp_path / "run", init=tmp_path / "gone.safetensors"))


def test_a_teacher_of_another_width_draws_the_student_towards_it(
    walls: Path, tmp_path: Path
) -> None:
    teacher = checkpoint(tmp_path / "teacher", width=3)
    before = teacher.read_bytes()
    options: dict[str, Any] = {
        "teacher": teacher,
        "loss": LossConfig(dice_weight=0, distillation_weight=50),
        "optimizer": OptimizerConfig(learning_rate=3e-3, warmup_steps=2, schedule="constant"),
        "steps_per_epoch": 30,
        "epochs": 1,
    }
    result = run(tiny_config(walls, tmp_path / "run", **options))
    losses = [value for _, value in read_logs(tmp_path / "run" / "logs")["train_loss"]]
    assert losses[-1] < 0.8 * losses[0]
    assert teacher.read_bytes() == before
    # Neither weights nor description of the teacher travel with the student.
    assert weights_of(result.best).keys() == {
        f"network.{name}" for name in CrackUNet(NetworkConfig(2)).state_dict()
    }
    assert load_network(result.best)[1].extra["training"]["teacher"] == "teacher/best.safetensors"
    assert str(tmp_path) not in sidecar_path(result.best).read_text()


def test_teacher_of_other_frames(walls: Path, tmp_path: Path) -> None:
    teacher = checkpoint(tmp_path / "teacher", preprocess=PreprocessConfig(gamma=2.0))
    with pytest.raises(TrainingError, match=r"with gamma 2\.0, the run uses 1\.2;"):
        run(
            tiny_config(
                walls, tmp_path / "run", teacher=teacher, loss=LossConfig(distillation_weight=1)
            )
        )


def test_a_second_run_is_kept_out_until_the_first_one_ends(walls: Path, tmp_path: Path) -> None:
    config = tiny_config(walls, tmp_path / "run", epochs=1)
    refused: list[str] = []

    def start_another(message: str) -> None:
        for resume in (False, True):
            with pytest.raises(ConfigError, match=r"run is in use by another run; wait .*`out`"):
                run(replace(config, resume=resume))
            refused.append(message)

    run(config, start_another)
    assert len(refused) == 2 * 3
    assert not list(config.out.glob(".*"))
    run(replace(config, resume=True))


def test_a_killed_run_bars_no_other(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from edgecrack.training.run_lock import only_run_in\n"
        "with only_run_in(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match="is in use"), only_run_in(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    assert list(tmp_path.iterdir())
    with only_run_in(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_run_does_not_write_among_a_dataset_s_files(walls: Path, tmp_path: Path) -> None:
    before = sorted(walls.rglob("*"))
    for out in (walls, walls / "images", walls / "masks" / "deep" / "run"):
        with pytest.raises(ConfigError, match=r"dataset .*; give another `out`, e\.g\. runs/NAME"):
            run(tiny_config(walls, out))
    assert sorted(walls.rglob("*")) == before
    with own_folder(tiny_config(walls, tmp_path / "run")):
        pass
    shutil.copytree(walls, tmp_path / "walls")
    with own_folder(tiny_config(tmp_path / "walls", tmp_path / "walls" / "runs" / "a")):
        pass


def test_a_torn_last_checkpoint_points_to_the_best(walls: Path, tmp_path: Path) -> None:
    config = tiny_config(walls, tmp_path / "run", epochs=1)
    last = run(config).last
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(
        ModelFileError, match=r"last\..*; .*best\.safetensors can still be used.*`init`"
    ):
        run(replace(config, resume=True))
    last.with_name("best.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"last\..*; train again"):
        run(replace(config, resume=True))


def test_a_plan_decides_the_steps_of_an_epoch(walls: Path, tmp_path: Path) -> None:
    plan = (PatchCount("walls", per_image=5),)  # of 4 images: 20 patches in batches of 8
    messages: list[str] = []
    config = tiny_config(walls, tmp_path / "run", plan=plan, batch_size=8, epochs=2)
    assert run(config, messages.append).steps == 6
    assert "2 x 3 steps of 8 patches" in messages[-1]
    cosine = tiny_config(walls, tmp_path / "cosine", plan=plan, batch_size=20, epochs=2)
    cosine = type(cosine)(**{**vars(cosine), "optimizer": OptimizerConfig(warmup_steps=0)})
    whole = SafetensorsCheckpointIO().load_checkpoint(run(cosine).last)
    # At the end of its schedule, which has as many steps as the plan makes.
    assert whole["lr_schedulers"][0]["_last_lr"][0] == pytest.approx(0.01 * 2e-3)


def test_a_plan_leaves_no_room_for_weights(walls: Path, tmp_path: Path) -> None:
    plan = (PatchCount("walls", per_image=5),)
    with pytest.raises(ConfigError, match=r"'walls' has the weight 2, but the plan .*WEIGHT"):
        run(tiny_config(f"{walls}@2", tmp_path / "run", plan=plan))


def test_a_plan_of_other_data(walls: Path, tmp_path: Path) -> None:
    plan = (PatchCount("cfd", per_image=5),)
    with pytest.raises(ConfigError, match="the plan names cfd, but the sources are walls"):
        run(tiny_config(walls, tmp_path / "run", plan=plan))
    assert not (tmp_path / "run").exists()
