"""The stages of a model in inference sessions."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Protocol

import numpy as np
import onnx
import onnx.utils
from numpy.typing import NDArray

from s3k_ros.errors import ConfigurationError, DeviceUnavailableError
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.perception.description import ModelDescription
from s3k_ros.perception.session import CPU, on_cpu, open_session
from s3k_ros.perception.workers import Workers

FloatArray = NDArray[np.float32]


class Network(Protocol):
    """One stage: images (N, 3, h, w), RGB 0..255, to logits (N, K, h/s, w/s)."""

    def __call__(self, images: FloatArray) -> FloatArray:
        """Runs the stage on a batch.

        Raises:
            DeviceUnavailableError: what it runs on fails.
        """


class Stages(NamedTuple):
    """The stages of a model, all on one provider.

    Attributes:
        coarse, crop: the stages; crop is None when the coarse stage gives the positions.
        provider: ONNX Runtime's execution provider in use.
        precision: "fp32" or "fp16".
        fallback: why these are not what was asked for; empty when they are.
    """

    coarse: Network
    crop: Network | None
    provider: str
    precision: str
    fallback: str


def open_stages(
    model: onnx.ModelProto,
    description: ModelDescription,
    workers: Workers,
    params: DetectorParameters,
    digest: str,
) -> Stages:
    """Opens a session for each stage, and runs it once.

    Raises:
        ConfigurationError: as `open_session`, or the network is not what its description says.
    """

    def opened(params: DetectorParameters) -> dict[str, _Stage]:
        # fp16 is for the stage that gives the positions. In the coarse one its error of hundredths
        # of a pixel would move one crop in thirty by a whole pixel, and the keypoints with it.
        fp32 = dataclasses.replace(params, precision="fp32")
        return {
            stage: _Stage(
                model, stage, description, workers,
                params if size == description.last else fp32, digest,
            )
            for stage, size in description.stages.items()
        }  # fmt: skip

    try:
        stages = opened(params)
        # Each reason once: the stages mostly fail in the same way.
        faults = list(dict.fromkeys(s.session.fallback for s in stages.values()))
        fallback = "; ".join(filter(None, faults))
        # Where one stage has to go, the other one goes along.
        if len({stage.session.provider for stage in stages.values()}) > 1:
            stages = opened(on_cpu(params))
    except DeviceUnavailableError as error:
        stages, fallback = opened(on_cpu(params)), str(error)
    provider = stages["coarse"].session.provider
    precision = "fp32" if provider == CPU else params.precision
    return Stages(stages["coarse"], stages.get("crop"), provider, precision, fallback)


class _Stage:
    """One subgraph in a session of its own."""

    def __init__(
        self,
        model: onnx.ModelProto,
        name: str,
        description: ModelDescription,
        workers: Workers,
        params: DetectorParameters,
        digest: str,
    ) -> None:
        self._input, self._output = f"{name}_image", f"{name}_logits"
        self._workers = workers
        stage = description.stages[name]
        height, width = stage.input_size
        self._check_interface(model, (height, width))
        graph = onnx.utils.Extractor(model).extract_model([self._input], [self._output])
        shape = {self._input: f"3x{height}x{width}"}
        self.session = open_session(graph, params, shape, f"{digest[:16]}_{name}")
        logits = self(np.zeros((2, 3, height, width), np.float32))
        expected = (2, len(description.keypoints), *stage.grid_size)
        if logits.shape != expected:
            raise ConfigurationError(
                f"{self._output} has shape {logits.shape}, its metadata say {expected}"
            )
        if not np.isfinite(logits).all():
            provider = self.session.provider
            error = ConfigurationError if provider == CPU else DeviceUnavailableError
            raise error(f"{self._output} is not finite for a black image on {provider}")

    def __call__(self, images: FloatArray) -> FloatArray:
        # A GPU takes all views at once; on the CPU each thread takes its share of them.
        shares = min(self._workers.threads, len(images)) if self.session.provider == CPU else 1
        if shares < 2:
            return self._run(images)
        return np.concatenate(self._workers.map(self._run, np.array_split(images, shares)))

    def _run(self, images: FloatArray) -> FloatArray:
        try:
            logits: FloatArray = self.session.run.run([self._output], {self._input: images})[0]
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes here
            text = f"{self.session.provider} failed: {error}"
            raise DeviceUnavailableError(text) from error
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
