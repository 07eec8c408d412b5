"""Checkpoints as safetensors: weights, averaged weights and optimiser state, parameters beside.

A run keeps two: ``checkpoint.safetensors`` to go on from, and ``model.safetensors``, the averaged
weights that the guards chose. Both are read by ``Checkpoint.load``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.method.network import KeypointNetwork


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on.

    Attributes:
        params: of the run.
        keypoints: names, in the order of the maps.
        step: optimiser steps done.
        tensors: "model.*", "ema.*", "optimiser.<parameter>.<moment>".
        info: object_id, dataset, command and the like.
        progress: what a run must remember besides, such as the best score of the guards.
    """

    params: TrainingParameters
    keypoints: list[str]
    step: int
    tensors: dict[str, Tensor]
    info: dict[str, Any]
    progress: dict[str, Any] = dataclasses.field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Writes beside the target and renames, so that a kill leaves a whole file."""
        head = {
            "params": dataclasses.asdict(self.params),
            "keypoints": self.keypoints,
            "step": self.step,
            "info": self.info,
            "progress": self.progress,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        tensors = {
            name: value.detach().cpu().clone().contiguous() for name, value in self.tensors.items()
        }
        partial.write_bytes(save(tensors, metadata={"s3k": json.dumps(head)}))
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Reads a checkpoint.

        Raises:
            ConfigurationError: missing, truncated or not a checkpoint of this package.
        """
        try:
            with safe_open(path, framework="pt") as file:
                head = json.loads((file.metadata() or {})["s3k"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            head = {"progress": {}, **head}
        except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise ConfigurationError(f"{path} is not a checkpoint: {error}") from error
        params = TrainingParameters.from_mapping(
            {k: tuple(v) if isinstance(v, list) else v for k, v in head["params"].items()}
        )
        return cls(params, head["keypoints"], head["step"], tensors, head["info"], head["progress"])

    def part(self, kind: str) -> dict[str, Tensor]:
        """The tensors of one kind ("model", "ema" or "optimiser"), by the rest of their names."""
        prefix = kind + "."
        return {k[len(prefix) :]: v for k, v in self.tensors.items() if k.startswith(prefix)}

    def digest(self) -> str:
        """SHA-256 of the averaged weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self.part("ema").items()):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def network(self, which: str = "ema") -> KeypointNetwork:
        """The network with the averaged ("ema") or the last ("model") weights, for inference."""
        network = make_network(self.params, len(self.keypoints))
        network.load_state_dict(self.part(which))
        return network.eval()


def make_network(params: TrainingParameters, keypoints: int) -> KeypointNetwork:
    """A fresh network; its weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed)
        network = KeypointNetwork(
            keypoints, params.stem, params.widths, params.blocks, params.heatmap_stride
        )
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
