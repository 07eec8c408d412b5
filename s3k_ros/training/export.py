"""``s3k export``: two checkpoints become one self-describing ONNX file.

Each network is exported on its own and the two graphs are merged without any connection, so that
the detector can split them again. Uncertainty constants come from ``s3k calibrate``; until then
they are stated as provisional.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.compose
import onnxruntime
import torch

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters
from s3k_ros.perception.model_file import (
    ConfidenceDescription,
    ModelDescription,
    StageDescription,
    UncertaintyDescription,
    WeightDescription,
    attach_description,
)
from s3k_ros.training.checkpoint import Checkpoint
from s3k_ros.training.network import STRIDE, KeypointNetwork

OPSET = 17
MAX_BYTES = 5_000_000
"""The shipped file must stay below this."""
_PARITY = 2e-3
"""Largest difference of logits between PyTorch and ONNX Runtime: float32 sums in another order."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``s3k export``."""
    parser.add_argument("--coarse", required=True, help="checkpoint of the coarse stage")
    parser.add_argument("--crop", required=True, help="checkpoint of the crop stage")
    parser.add_argument("--out", required=True, help="the ONNX file to write")
    parser.add_argument(
        "--skeleton", default="", help="pairs of keypoints to draw, as head:body,body:tail"
    )
    parser.add_argument("--reference-width", type=int, default=640, help="image width, px")


def run(args: argparse.Namespace) -> int:
    """Writes the model file with provisional uncertainty."""
    coarse, crop = Checkpoint.load(Path(args.coarse)), Checkpoint.load(Path(args.crop))
    pairs = parse_skeleton(args.skeleton, crop.keypoints)
    description = describe(coarse, crop, pairs, args.reference_width)
    export(coarse, crop, description, Path(args.out))
    print(f"wrote {args.out} ({Path(args.out).stat().st_size / 1e6:.2f} MB)")
    return 0


def export(coarse: Checkpoint, crop: Checkpoint, description: ModelDescription, path: Path) -> None:
    """Writes the ONNX file and checks that it computes what PyTorch computes.

    Raises:
        ConfigurationError: stages of different keypoints, logits that differ, or a file too large.
    """
    if coarse.keypoints != crop.keypoints:
        raise ConfigurationError(
            f"the stages name different keypoints: {coarse.keypoints} and {crop.keypoints}"
        )
    parts = {}
    for stage, checkpoint in (("coarse", coarse), ("crop", crop)):
        if checkpoint.params.stage != stage:
            raise ConfigurationError(f"{stage}: the checkpoint is of {checkpoint.params.stage!r}")
        parts[stage] = _one_graph(checkpoint, stage)
    model = onnx.compose.merge_models(parts["coarse"], parts["crop"], io_map=[])
    model.graph.name = description.object_id
    model.producer_name = "s3k_ros"
    model.doc_string = ""
    attach_description(model, description)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    if len(data) > MAX_BYTES:
        raise ConfigurationError(f"the file would have {len(data)} bytes, allowed: {MAX_BYTES}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def describe(
    coarse: Checkpoint,
    crop: Checkpoint,
    skeleton: Sequence[tuple[int, int]],
    reference_width: int,
    uncertainty: UncertaintyDescription | None = None,
    figures: Mapping[str, Any] | None = None,
) -> ModelDescription:
    """The description of the two networks; uncertainty stays provisional when none is given."""
    params = crop.params
    return ModelDescription(
        object_id=str(crop.info.get("object_id", "object")),
        keypoints=tuple(crop.keypoints),
        skeleton=tuple(skeleton),
        coarse=_stage(coarse.params),
        crop=_stage(params),
        window_px=max(1, round(2.5 * params.sigma_px)),
        weights=WeightDescription(params.alpha, params.beta),
        uncertainty=uncertainty or provisional_uncertainty(len(crop.keypoints), reference_width),
        training={
            "coarse": _record(coarse),
            "crop": _record(crop),
            "figures": dict(figures or {}),
        },
    )


def provisional_uncertainty(keypoints: int, reference_width: int) -> UncertaintyDescription:
    """Round numbers that only serve until the calibration: 2 px and 5 mm standard deviation."""
    return UncertaintyDescription(
        pixel_variance=(((4.0, 0.0), (0.0, 4.0)),) * keypoints,
        reference_width=reference_width,
        spread_gain=(1.0,) * keypoints,
        common_mode=(tuple(tuple(row) for row in (np.eye(3) * 0.005**2).tolist()),) * keypoints,
        confidence=ConfidenceDescription(3.0, {"log_peak_mass": 3.0}),
        provisional=True,
    )


def parse_skeleton(text: str, keypoints: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of indices from "head:body,body:tail".

    Raises:
        ConfigurationError: a name that is no keypoint.
    """
    pairs = []
    for item in filter(None, text.split(",")):
        names = item.split(":")
        if len(names) != 2 or any(name not in keypoints for name in names):
            raise ConfigurationError(
                f"skeleton {item!r} must be two of {', '.join(keypoints)}, joined by ':'"
            )
        pairs.append((keypoints.index(names[0]), keypoints.index(names[1])))
    return pairs


def _stage(params: TrainingParameters) -> StageDescription:
    return StageDescription(
        input_size=(params.input_height, params.input_width),
        stride=STRIDE,
        sigma_px=params.sigma_px,
        crop_fraction=params.crop_fraction if params.stage == "crop" else None,
    )


def _record(checkpoint: Checkpoint) -> dict[str, Any]:
    record = {**checkpoint.info, "seed": checkpoint.params.seed, "steps": checkpoint.step}
    return dict(json.loads(json.dumps(record, default=str)))


def _one_graph(checkpoint: Checkpoint, stage: str) -> onnx.ModelProto:
    network = checkpoint.network().to(memory_format=torch.contiguous_format)
    params = checkpoint.params
    example = torch.rand(2, 3, params.input_height, params.input_width) * 255
    buffer = io.BytesIO()
    names = (f"{stage}_image", f"{stage}_logits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own successor
        torch.onnx.export(
            network,
            (example,),
            buffer,
            input_names=[names[0]],
            output_names=[names[1]],
            dynamic_axes={names[0]: {0: "views"}, names[1]: {0: "views"}},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    _check_parity(model, network, example, names)
    # Names must not meet in the merged graph; inputs and outputs are already distinct.
    return onnx.compose.add_prefix(
        model, prefix=f"{stage}/", rename_inputs=False, rename_outputs=False
    )


def _check_parity(
    model: onnx.ModelProto,
    network: KeypointNetwork,
    example: torch.Tensor,
    names: tuple[str, str],
) -> None:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run([names[1]], {names[0]: example.numpy()})[0]
    with torch.no_grad():
        expected = network(example).numpy()
    error = float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))
    if error > _PARITY:
        raise ConfigurationError(f"{names[1]} differs from PyTorch by {error:.2e} (relative)")


def main() -> int:
    """``python -m s3k_ros.training.export``."""
    parser = argparse.ArgumentParser(prog="s3k export")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
