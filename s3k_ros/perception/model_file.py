"""The keypoint model file: one ONNX file with its stages and their description.

The graph holds one or two subgraphs that share nothing but weights: input ``coarse_image``
(N, 3, h, w) to output ``coarse_logits`` (N, K, h/s, w/s), and, where the description names a crop
stage, ``crop_image`` (N, 3, H, W) to ``crop_logits`` (N, K, H/s', W/s'). Inputs are float32 RGB in
0..255, N is dynamic; the metadata key "s3k" holds a `ModelDescription`. Nothing in the file is ever
executed other than by ONNX Runtime.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import onnx
import onnx.utils
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError
from s3k_ros.perception.description import (
    METADATA_KEY,
    ConfidenceDescription,
    DistanceDescription,
    ModelDescription,
    SpaceConfidence,
    StageDescription,
    UncertaintyDescription,
    WeightDescription,
)
from s3k_ros.perception.session import CPU, open_session

__all__ = [
    "METADATA_KEY",
    "ConfidenceDescription",
    "DistanceDescription",
    "KeypointModel",
    "ModelDescription",
    "SpaceConfidence",
    "StageDescription",
    "UncertaintyDescription",
    "WeightDescription",
    "attach_description",
    "read_description",
]

FloatArray = NDArray[np.float32]


class Network(Protocol):
    """One stage: images (N, 3, h, w), RGB 0..255, to logits (N, K, h/s, w/s)."""

    def __call__(self, images: FloatArray) -> FloatArray:
        """Runs the stage on a batch."""


class KeypointModel:
    """A model that is ready to run.

    Attributes:
        name: the file's name without its ending.
        sha256: hash of the file, hexadecimal.
        description: what the file says about itself.
        coarse, crop: the stages; crop is None when the coarse stage gives the positions.
        provider: ONNX Runtime's execution provider in use.
        fallback: why it is not the one that was asked for; empty when it is.
    """

    def __init__(
        self,
        description: ModelDescription,
        coarse: Network,
        crop: Network | None = None,
        name: str = "",
        sha256: str = "",
        provider: str = CPU,
        fallback: str = "",
    ) -> None:
        """Combines the parts; `load` is the usual way."""
        self.description = description
        self.coarse = coarse
        self.crop = crop
        self.name = name or description.object_id
        self.sha256 = sha256
        self.provider = provider
        self.fallback = fallback

    @classmethod
    def load(cls, path: str | Path, threads: int = 2, provider: str = CPU) -> Self:
        """Loads and checks a model file, and runs each stage once.

        Args:
            path: the ONNX file.
            threads: CPU threads of each stage.
            provider: ONNX Runtime's execution provider; where it is missing, the CPU takes its
                place, and `fallback` says why.

        Raises:
            ConfigurationError: the file is missing, truncated, without metadata, or contradicts
                itself, or no provider has such a name; the message names file and fault.
        """
        path = Path(path)
        try:
            return cls.parse(_read(path), path.stem, threads, provider)
        except ConfigurationError as error:
            message = str(error)
            known = message.startswith("model file")
            raise ConfigurationError(message if known else f"model file {path}: {error}") from None

    @classmethod
    def parse(cls, data: bytes, name: str = "", threads: int = 2, provider: str = CPU) -> Self:
        """As `load`, from the file's bytes; messages do not name the file.

        Raises:
            ConfigurationError: as `load`.
        """
        model = _parse(data)
        description = _description(model)
        stages = {
            stage: _Stage(model, stage, size, len(description.keypoints), threads, provider)
            for stage, size in description.stages.items()
        }
        digest = hashlib.sha256(data).hexdigest()
        coarse, crop = stages["coarse"], stages.get("crop")
        session = coarse.session
        return cls(description, coarse, crop, name, digest, session.provider, session.fallback)

    def check_keypoints(self, expected: Sequence[str]) -> None:
        """Refuses a model of other keypoints than the configuration names.

        Raises:
            ConfigurationError: other names or another order; the message lists both.
        """
        found = list(self.description.keypoints)
        if list(expected) != found:
            raise ConfigurationError(
                f"model {self.name} has the keypoints {found}, the configuration expects "
                f"{list(expected)}"
            )


def read_description(path: str | Path) -> ModelDescription:
    """What a model file says about itself, without loading its networks.

    Raises:
        ConfigurationError: as `KeypointModel.load`, except for faults of the networks.
    """
    try:
        return _description(_parse(_read(Path(path))))
    except ConfigurationError as error:
        message = str(error)
        known = message.startswith("model file")
        raise ConfigurationError(message if known else f"model file {path}: {error}") from None


def attach_description(model: onnx.ModelProto, description: ModelDescription) -> None:
    """Writes the description into the model's metadata, replacing an older one."""
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=METADATA_KEY, value=description.to_json())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"model file {path}: {error.strerror or error}") from None


def _parse(data: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise ConfigurationError(f"truncated, or no ONNX file: {error}") from None
    if not model.graph.node:
        raise ConfigurationError("empty or truncated: it holds no network")
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ConfigurationError(f"tensor {tensor.name!r} lies in another file")
    return model


def _description(model: onnx.ModelProto) -> ModelDescription:
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            return ModelDescription.from_json(entry.value)
    raise ConfigurationError(
        f"the metadata {METADATA_KEY!r} is missing (keypoint names, sizes, uncertainty): this is "
        "not a keypoint model, or it is truncated"
    )


class _Stage:
    """One subgraph in a session of its own."""

    def __init__(
        self,
        model: onnx.ModelProto,
        name: str,
        stage: StageDescription,
        keypoints: int,
        threads: int,
        provider: str,
    ) -> None:
        self._input, self._output = f"{name}_image", f"{name}_logits"
        height, width = stage.input_size
        self._check_interface(model, (height, width))
        graph = onnx.utils.Extractor(model).extract_model([self._input], [self._output])
        self.session = open_session(graph.SerializeToString(), threads, provider)
        logits = self(np.zeros((2, 3, height, width), np.float32))
        expected = (2, keypoints, *stage.grid_size)
        if logits.shape != expected:
            raise ConfigurationError(
                f"{self._output} has shape {logits.shape}, its metadata say {expected}"
            )
        if not np.isfinite(logits).all():
            raise ConfigurationError(f"{self._output} is not finite for a black image")

    def __call__(self, images: FloatArray) -> FloatArray:
        logits: FloatArray = self.session.run.run([self._output], {self._input: images})[0]
        return logits

    def _check_interface(self, model: onnx.ModelProto, size: tuple[int, int]) -> None:
        inputs = {value.name: value for value in model.graph.input}
        outputs = [value.name for value in model.graph.output]
        if self._input not in inputs:
            raise ConfigurationError(f"input {self._input} is missing; it has {sorted(inputs)}")
        if self._output not in outputs:
            raise ConfigurationError(f"output {self._output} is missing; it has {sorted(outputs)}")
        dims = [d.dim_value for d in inputs[self._input].type.tensor_type.shape.dim]
        expected = [0, 3, *size]  # 0: dynamic
        fits = len(dims) == 4 and all(d in (0, e) for d, e in zip(dims, expected, strict=True))
        if not fits or inputs[self._input].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            raise ConfigurationError(
                f"input {self._input} has shape {dims}, its metadata say float32 {expected} "
                "(0: any)"
            )
