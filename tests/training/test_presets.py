"""Presets: every file that ships builds, values override in order, and mistakes are named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from edgecrack.data.patches import PAPER_COUNTS, PatchCount
from edgecrack.errors import ConfigError
from edgecrack.training.config import ROBOT_AUGMENT, AugmentConfig, TrainingConfig
from edgecrack.training.presets import (
    build_config,
    config_of_run,
    origin_of_run,
    parse_setting,
    preset_names,
    read_preset,
    to_yaml,
)

GIVEN: dict[str, Any] = {"data": ["synthetic:20"], "out": Path("runs/x")}


def test_paper_and_edge_ship_and_explain_themselves() -> None:
    assert preset_names() == ["edge", "paper"]
    for name in preset_names():
        text, values = read_preset(name)
        assert text.startswith("#")
        assert values


def test_paper_is_the_paper_to_the_letter() -> None:
    config = config_of_run("paper", {**GIVEN, "data": ["cfd=DIR", "aiglern=DIR2"]})
    assert (config.network.width, config.network.pooling) == (32, "gated-scale")
    assert (config.patches.patch_px, config.patches.crack_share) == (48, 0.6)
    assert config.patches.augment == AugmentConfig()
    assert config.plan == (PatchCount("cfd", per_image=2000), PatchCount("aiglern", total=72000))
    optimizer = config.optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.momentum) == ("sgd", 0.001, 0.9)
    assert (optimizer.warmup_steps, optimizer.clip_norm, optimizer.schedule) == (0, 0.0, "constant")
    assert (config.batch_size, config.epochs, config.average_decay) == (32, 25, 0.0)
    assert (config.loss.dice_weight, config.loss.cl_dice_weight) == (1.0, 0.0)
    assert config.loss.dice_denominator == "squares"  # V-Net's, reference 30
    assert (config.hold_out, config.precision) == (0.0, "32")


def test_the_paper_preset_has_the_paper_s_counts() -> None:
    data = ["cfd=A", "cracktree=B", "aiglern=C"]
    assert config_of_run("paper", {**GIVEN, "data": data}).plan == PAPER_COUNTS


def test_edge_is_the_default_of_the_command_line_and_augments() -> None:
    config = config_of_run("edge", GIVEN)
    assert config.network.width == 8
    assert config.plan == ()
    assert config.patches.augment.geometry
    assert config.loss.dice_denominator == "sums"


def test_the_paper_s_plan_wants_one_of_its_datasets() -> None:
    with pytest.raises(ConfigError, match="plans patches of cfd, cracktree, aiglern, but the data"):
        config_of_run("paper", GIVEN)
    config = config_of_run("paper", GIVEN, ["plan=[]"])
    assert config.plan == ()


def test_options_override_the_preset_and_settings_override_options() -> None:
    given = {**GIVEN, "network.width": 16, "batch_size": 8, "epochs": None}
    config = config_of_run("edge", given, ["batch_size=4", "patches.augment.noise_levels=1.5"])
    assert (config.network.width, config.batch_size) == (16, 4)
    assert config.patches.augment.noise_levels == 1.5
    assert config.patches.augment.geometry  # the rest of the group stays
    assert config.epochs == config_of_run("edge", GIVEN).epochs


def test_augmentation_is_switched_as_a_whole() -> None:
    assert config_of_run("edge", GIVEN, augment=False).patches.augment == AugmentConfig()
    cfd = {**GIVEN, "data": ["cfd=DIR"]}
    assert config_of_run("paper", cfd, augment=True).patches.augment == ROBOT_AUGMENT


def test_augmentation_is_switched_on_over_a_saved_run_without_any(tmp_path: Path) -> None:
    saved = tmp_path / "config.yaml"
    saved.write_text(to_yaml(config_of_run("edge", GIVEN, augment=False)), encoding="utf-8")
    assert config_of_run(str(saved), {}, augment=True).patches.augment == ROBOT_AUGMENT
    saved.write_text("patches:\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"'patches' of 'patches\.augment' is not a group of settings"
    ):
        config_of_run(str(saved), GIVEN, augment=True)


def test_steps_that_the_plan_decides_are_not_taken_in_silence() -> None:
    cfd = {**GIVEN, "data": ["cfd=DIR"]}
    for given, changes in (({"steps_per_epoch": 9}, []), ({}, ["steps_per_epoch=9"])):
        with pytest.raises(ConfigError, match="9 steps per epoch are asked for, but the plan"):
            config_of_run("paper", {**cfd, **given}, changes)
    assert config_of_run("paper", cfd, ["steps_per_epoch=9", "plan=[]"]).steps_per_epoch == 9


@pytest.mark.parametrize("name", ["edge", "paper"])
def test_a_saved_run_builds_the_same_run_again(name: str, tmp_path: Path) -> None:
    given = {**GIVEN, "data": ["cfd=DIR"], "init": Path("w.safetensors"), "seed": 3}
    config = config_of_run(name, given)
    saved = tmp_path / "config.yaml"
    saved.write_text(to_yaml(config), encoding="utf-8")
    assert config_of_run(str(saved), {}) == config
    other = config_of_run(str(saved), {"out": Path("elsewhere")})
    assert other == dataclasses.replace(config, out=Path("elsewhere"))


def test_numbers_are_read_as_people_write_them() -> None:
    config = config_of_run("edge", GIVEN, ["optimizer.learning_rate=1e-3", "precision=32"])
    assert config.optimizer.learning_rate == 0.001
    assert config.precision == "32"
    assert config_of_run("edge", GIVEN, ["optimizer.learning_rate=1"]).optimizer.learning_rate == 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimiser.name=sgd", "there is no setting 'optimiser'; did you mean 'optimizer'"),
        ("optimizer.lr=0.1", "there is no setting 'optimizer.lr'; known are name, learning_rate"),
        ("devices=2", "the setting 'devices' has another name now; give 'processes_per_machine'"),
        ("epochs=many", "`epochs` is 'many'; give a whole number"),
        ("epochs=2.5", "`epochs` is 2.5; give a whole number"),
        ("epochs=true", "`epochs` is True; give a whole number"),
        ("optimizer.momentum=high", "`optimizer.momentum` is 'high'; give a number"),
        ("patches.augment.geometry=1", "`patches.augment.geometry` is 1; give true or false"),
        ("patches.augment.scale_range=2", "`patches.augment.scale_range` is 2; give two numbers"),
        ("patches.augment.scale_range=[1]", r"scale_range` is \[1\]; give two numbers"),
        ("network=8", "`network` is 8; give a group"),
        ("network.width.x=8", "'width' of 'network.width.x' is not a group of settings"),
        ("network.width=0", "`network.width` is 0; give a whole number from 1 to 256"),
        ("precision=64", "`precision` is '64'; give one of"),
        ("plan=[{source: synthetic}]", "synthetic"),
        ("plan=[{per_image: 3}]", "there is no 'plan.source'"),
        ("plan=[{source: [1], per_image: 3}]", r"`plan.source` is \[1\]; give a text"),
        ("out=", "`out` is None"),
        ("out=''", "`out` is ''; give a path"),
        ("epochs", "the change 'epochs' sets nothing; give KEY=VALUE"),
        ("epochs=[", r"the change 'epochs=\[' is not valid YAML"),
        ("epochs=2001-99-99", "give a whole number"),
    ],
)
def test_mistakes_are_named(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of_run("edge", GIVEN, [setting])


def test_missing_data_and_out_are_asked_for() -> None:
    with pytest.raises(ConfigError, match="no training data is given; give `data`"):
        config_of_run("edge", {"out": Path("x")})
    with pytest.raises(ConfigError, match="there is no 'out'; give a value"):
        build_config({"data": ["synthetic"]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no preset"),
        (b"\xff\xfe\x00", "is not valid UTF-8; save it"),
        (b"- 1\n- 2\n", "contains no settings"),
        (b"a: [1\n", "is not valid YAML"),
        (b"!!python/object/apply:os.system ['true']", "is not valid YAML"),
        (
            b"loss: {dice_weight: 1}\nepochs: 2\nepochs: 3\n",
            "sets 'epochs' twice, .* line 3; leave",
        ),
        (b"loss:\n  dice_weight: 1\n  dice_weight: 1\n", "sets 'dice_weight' twice, .* line 3"),
    ],
    ids=["absent", "bytes", "list", "torn", "code", "twice", "twice-within"],
)
def test_a_preset_that_is_none(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        config_of_run(str(path), GIVEN)


def test_a_folder_is_not_an_unknown_preset(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the preset .*: Is a directory; give"):
        config_of_run(str(tmp_path), GIVEN)


def test_yaml_may_refer_to_itself_without_being_walked_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "circle.yaml"
    path.write_text("a: &a [*a]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="nests more than 100 levels deep"):
        config_of_run(str(path), GIVEN)


def test_a_run_s_origin_is_the_preset_and_what_was_given_over_it() -> None:
    given = {**GIVEN, "epochs": None, "batch_size": 8, "resume": False}
    changes = ["batch_size=4", "patches.augment.noise_levels=1.5"]
    assert origin_of_run("edge", given, changes, augment=True).splitlines() == [
        "preset: edge, with",
        "  augment: true",
        '  data: ["synthetic:20"]',
        '  out: "runs/x"',
        "  batch_size: 4",
        "  patches.augment.noise_levels: 1.5",
    ]


def test_an_empty_preset_gives_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing\n", encoding="utf-8")
    expected = TrainingConfig(data=("synthetic:20",), out=Path("runs/x"))
    assert config_of_run(str(path), GIVEN) == expected


def test_a_setting_is_split_at_its_first_equals_sign() -> None:
    assert parse_setting("data=[cfd=DIR]") == ("data", ["cfd=DIR"])


def test_the_edge_preset_spells_out_the_robot_s_augmentation() -> None:
    assert config_of_run("edge", GIVEN).patches.augment == ROBOT_AUGMENT
