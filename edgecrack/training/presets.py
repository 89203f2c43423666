"""Training presets: YAML files from which a run's configuration is built.

A file's keys are the fields of `TrainingConfig`; what it leaves out keeps its default. A run saves
its own configuration in the same form, so `--preset runs/NAME/config.yaml` repeats it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from edgecrack import outside_text
from edgecrack.data.sources import parse_source
from edgecrack.errors import ConfigError
from edgecrack.extras import require
from edgecrack.settings import from_plain
from edgecrack.training.config import ROBOT_AUGMENT, AugmentConfig, TrainingConfig

FOLDER = Path(__file__).resolve().parents[1] / "presets"
# A setting's earlier name, and its present one.
_RENAMED = {"devices": "processes_per_machine", "nodes": "machines", "accelerator": "device"}


def preset_names() -> list[str]:
    """The names of the presets that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_preset(name: str) -> tuple[str, dict[str, Any]]:
    """Read a preset that comes with the package, or a file.

    Args:
        name: "paper", "edge", or the path of a YAML file.

    Returns:
        The file's text, comments included, and its values.

    Raises:
        ConfigError: there is no such preset, or the file cannot be read or is not a mapping.
    """
    path = FOLDER / f"{name}.yaml" if name in preset_names() else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not valid UTF-8", "save it as UTF-8") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        known = ", ".join(preset_names())
        raise ConfigError(
            f"there is no preset {name!r}", f"choose one of {known}, or give a YAML file"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"cannot read the preset {name!r}: {error.strerror or error}",
            f"give a YAML file that you may read, or one of {', '.join(preset_names())}",
        ) from error
    document = parse_yaml(text, str(path))
    if document is not None and not isinstance(document, dict):
        raise ConfigError(f"{path} contains no settings", "give lines of the form `name: value`")
    return text, document or {}


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML.

    Raises:
        ConfigError: it is not YAML, or sets something twice; names `where` and the line.
        MissingDependencyError: PyYAML is not installed.
    """
    require("yaml", extra="train", purpose="reading a preset")
    try:
        return outside_text.parse_yaml(text)
    except outside_text.RepeatedKeyError as error:
        problem = str(error).removeprefix("it ")
        raise ConfigError(f"{where} {problem}", "leave one of them out") from error
    except ValueError as error:
        raise ConfigError(f"{where} is not valid YAML ({error})", "fix it") from error


def to_yaml(config: TrainingConfig) -> str:
    """A configuration as a preset file."""
    yaml = require("yaml", extra="train", purpose="writing a run's configuration")
    return cast(str, yaml.safe_dump(to_plain(config.to_dict()), sort_keys=False, width=100))


def set_value(document: dict[str, Any], key: str, value: Any) -> None:
    """Set one value by its dotted key, e.g. "optimizer.learning_rate", in place.

    Raises:
        ConfigError: a part of the key is a plain value.
    """
    *folders, last = key.split(".")
    place = document
    for folder in folders:
        place = place.setdefault(folder, {})
        if not isinstance(place, dict):
            raise ConfigError(f"{folder!r} of {key!r} is not a group of settings", "check the name")
    place[last] = value


def parse_setting(text: str) -> tuple[str, Any]:
    """Split "KEY=VALUE" and parse the value as YAML.

    Raises:
        ConfigError: it has another form.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"the change {text!r} sets nothing", "give KEY=VALUE, e.g. epochs=5")
    return key.strip(), parse_yaml(value, f"the change {text!r}")


def config_of_run(
    preset: str,
    given: Mapping[str, Any],
    changes: Sequence[str] = (),
    augment: bool | None = None,
) -> TrainingConfig:
    """A run's configuration: a preset, values by dotted key over it, then "KEY=VALUE" texts.

    Args:
        preset: a preset's name or file.
        given: values by dotted key; None leaves the preset's.
        changes: "KEY=VALUE" texts, which come last.
        augment: False disables augmentation, True enables the robot's where the preset has none.

    Raises:
        ConfigError: a name is unknown, or a value has the wrong type or is out of range.
    """
    _, document = read_preset(preset)
    if augment is not None:
        set_value(document, "patches.augment", _switched(document, augment))
    for key, value in given.items():
        if value is not None:
            set_value(document, key, value)
    settings = [parse_setting(text) for text in changes]
    for key, value in settings:
        set_value(document, key, value)
    if not document.get("data"):
        raise ConfigError("no training data is given", "give `data` DIR or `data` synthetic:600")
    config = build_config(_without_idle_plan(document))
    steps_asked = given.get("steps_per_epoch") is not None or "steps_per_epoch" in dict(settings)
    if config.plan and steps_asked:
        raise ConfigError(
            f"{config.steps_per_epoch} steps per epoch are asked for, but the plan decides them",
            "leave out `steps_per_epoch`, or give `plan`=[] for plain random patches",
        )
    return config


def origin_of_run(
    preset: str,
    given: Mapping[str, Any],
    changes: Sequence[str] = (),
    augment: bool | None = None,
) -> str:
    """The preset's name and the values that override it, a line each.

    Arguments as for `config_of_run`.
    """
    values = {"augment": augment, **given, **dict(map(parse_setting, changes))}
    lines = [
        f"  {key}: {json.dumps(to_plain(value), ensure_ascii=False, default=str)}"
        for key, value in values.items()
        if value is not None and not (key == "resume" and value is False)
    ]
    return "\n".join([f"preset: {preset}, with", *lines])


def _switched(document: Mapping[str, Any], augment: bool) -> Any:
    """The preset's augmentation, the robot's where it has none, or none."""
    if not augment:
        return {}
    patches = document.get("patches")
    present = patches.get("augment") if isinstance(patches, Mapping) else None
    if present:
        try:
            if from_plain(AugmentConfig, present) != AugmentConfig():
                return present  # a saved run spells out that it changes nothing
        except ConfigError:
            return present  # refused by its full name with the whole configuration
    return to_plain(dataclasses.asdict(ROBOT_AUGMENT))


def _without_idle_plan(document: dict[str, Any]) -> dict[str, Any]:
    """The same without plan entries for datasets that this run does not use."""
    plan, data = document.get("plan"), document.get("data")
    if not isinstance(plan, list) or not isinstance(data, list):
        return document
    names = {parse_source(str(text)).name for text in data}
    # An invalid entry stays, for the configuration to refuse.
    kept = [item for item in plan if not _is_of_others(item, names)]
    if plan and not kept:
        planned = ", ".join(str(item["source"]) for item in plan)
        raise ConfigError(
            f"the preset plans patches of {planned}, but the data are {', '.join(sorted(names))}",
            "name a source as NAME=FOLDER, or give `plan`=[] for plain random patches",
        )
    return {**document, "plan": kept}


def _is_of_others(item: Any, names: set[str]) -> bool:
    source = item.get("source") if isinstance(item, dict) else None
    return isinstance(source, str) and source not in names


def build_config(document: Mapping[str, Any]) -> TrainingConfig:
    """Build and validate a run's configuration from plain values.

    Raises:
        ConfigError: a name is unknown, a value has the wrong type or is out of range.
    """
    for name, now in _RENAMED.items():
        if name in document:
            raise ConfigError(f"the setting {name!r} has another name now", f"give {now!r}")
    return from_plain(TrainingConfig, to_plain(document))


def to_plain(tree: Any) -> Any:
    """The same with lists and texts only, as YAML writes them without tags."""
    if isinstance(tree, Mapping):
        return {str(key): to_plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [to_plain(item) for item in tree]
    return str(tree) if isinstance(tree, Path) else tree
