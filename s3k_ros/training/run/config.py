"""Training files: one YAML file with a dataset, a folder for results, and one or two stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters

STAGES = ("coarse", "crop")
_KEYS = ("dataset", "out", "common", *STAGES)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """What ``s3k train`` does.

    Attributes:
        dataset: folder; None: the command line must say.
        out: folder of the run; None: the command line must say.
        stages: parameters by stage, in the order of training.
    """

    dataset: str | None
    out: str | None
    stages: dict[str, TrainingParameters]


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Reads a training file.

    Args:
        path: YAML file with ``dataset``, ``out``, ``common``, ``coarse`` and optionally ``crop``;
            relative paths are relative to where the command runs.
        overrides: NAME=VALUE for all stages, or STAGE.NAME=VALUE for one.

    Raises:
        ConfigurationError: an unreadable file, an unknown key or a bad value.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path} must be a mapping with {', '.join(_KEYS)}")
    unknown = sorted(str(key) for key in set(values) - set(_KEYS))
    if unknown:
        raise ConfigurationError(f"{path}: unknown key {unknown[0]!r}; valid: {', '.join(_KEYS)}")
    if "coarse" not in values:
        raise ConfigurationError(f"{path}: 'coarse' is missing: every model has that stage")
    sections = {name: _section(path, values, name) for name in ("common", *STAGES)}
    stages = {}
    for stage in STAGES:
        if stage in values:
            merged = {**sections["common"], **sections[stage]}
            stages[stage] = _parameters(path, stage, merged, overrides)
    for item in overrides:
        prefix = item.partition("=")[0].partition(".")
        if prefix[1] and prefix[0] not in stages:
            raise ConfigurationError(
                f"--set {item!r}: {prefix[0]!r} is none of the stages {', '.join(stages)}"
            )
    return TrainingConfig(_text(path, values, "dataset"), _text(path, values, "out"), stages)


def _section(path: str | Path, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = values.get(name) or {}
    if not isinstance(section, dict):
        raise ConfigurationError(f"{path}: {name!r} must be a mapping of parameters")
    if "stage" in section:
        raise ConfigurationError(f"{path}: {name}.stage follows from the section's name")
    return dict(section)


def _text(path: str | Path, values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{path}: {name} = {value!r} must be a path")
    return value


def _parameters(
    path: str | Path, stage: str, values: dict[str, Any], overrides: Sequence[str]
) -> TrainingParameters:
    for item in overrides:
        name, equals, text = item.partition("=")
        if not equals:
            raise ConfigurationError(f"--set {item!r} must be NAME=VALUE or STAGE.NAME=VALUE")
        owner, dot, rest = name.partition(".")
        if dot and owner != stage:
            continue
        try:
            values[rest if dot else name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigurationError(f"--set {item!r}: {error}") from error
    hints = get_type_hints(TrainingParameters)
    for name, value in values.items():
        if isinstance(value, list) and str(hints.get(name, "")).startswith("tuple"):
            values[name] = tuple(value)
    try:
        return TrainingParameters.from_mapping({**values, "stage": stage})
    except (ConfigurationError, TypeError) as error:
        raise ConfigurationError(f"{path}, {stage}: {error}") from error
