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
from typing import Self

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.perception import DetectorParameters
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
from s3k_ros.perception.session import CPU, on_cpu
from s3k_ros.perception.stages import Network, open_stages
from s3k_ros.perception.workers import Workers

__all__ = [
    "METADATA_KEY",
    "ConfidenceDescription",
    "DistanceDescription",
    "KeypointModel",
    "ModelDescription",
    "Network",
    "SpaceConfidence",
    "StageDescription",
    "UncertaintyDescription",
    "WeightDescription",
    "attach_description",
    "read_description",
]


class KeypointModel:
    """A model that is ready to run.

    Attributes:
        name: the file's name without its ending.
        sha256: hash of the file, hexadecimal.
        description: what the file says about itself.
        coarse, crop: the stages; crop is None when the coarse stage gives the positions.
        provider: ONNX Runtime's execution provider in use.
        fallback: why it is not the one that was asked for; empty when it is.
        precision: "fp32" or "fp16".
        workers: threads that share the views of a set.
        reference: the same model on the CPU in fp32, when this one is not; it takes over when the
            provider fails, and judges it.
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
        precision: str = "fp32",
        workers: Workers | None = None,
        reference: KeypointModel | None = None,
    ) -> None:
        """Combines the parts; `load` is the usual way."""
        self.description = description
        self.coarse = coarse
        self.crop = crop
        self.name = name or description.object_id
        self.sha256 = sha256
        self.provider = provider
        self.fallback = fallback
        self.precision = precision
        self.workers = workers or Workers()
        self.reference = reference

    @classmethod
    def load(cls, path: str | Path, params: DetectorParameters | None = None) -> Self:
        """Loads and checks a model file, and runs each stage once.

        Args:
            path: the ONNX file.
            params: how it runs. Where its provider is missing or does not start, another one takes
                its place, and `fallback` says why.

        Raises:
            ConfigurationError: the file is missing, truncated, without metadata, or contradicts
                itself, or the parameters do; the message names file and fault.
        """
        path = Path(path)
        try:
            return cls.parse(_read(path), path.stem, params)
        except ConfigurationError as error:
            message = str(error)
            known = message.startswith("model file")
            raise ConfigurationError(message if known else f"model file {path}: {error}") from None

    @classmethod
    def parse(cls, data: bytes, name: str = "", params: DetectorParameters | None = None) -> Self:
        """As `load`, from the file's bytes; messages do not name the file.

        Raises:
            ConfigurationError: as `load`.
        """
        params = params or DetectorParameters()
        model, digest = _parse(data), hashlib.sha256(data).hexdigest()
        description = _description(model)
        workers = Workers(params.threads)
        stages = open_stages(model, description, workers, params, digest)
        reference = None
        if stages.provider != CPU:
            plain = open_stages(model, description, workers, on_cpu(params), digest)
            reference = cls(description, plain.coarse, plain.crop, name, digest, workers=workers)
        return cls(
            description, stages.coarse, stages.crop, name, digest, stages.provider,
            stages.fallback, stages.precision, workers, reference,
        )  # fmt: skip

    def on_the_cpu(self, reason: str) -> KeypointModel:
        """The reference in this one's place, under its name; ``reason`` becomes the fallback."""
        assert self.reference is not None
        return KeypointModel(
            self.description, self.reference.coarse, self.reference.crop, self.name, self.sha256,
            fallback=reason, workers=self.workers,
        )  # fmt: skip

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
