"""``s3k export``: the networks of a run become one self-describing ONNX file.

Each network is exported on its own and the two graphs are merged without any connection, so that
the detector can split them again. A run without a crop stage gives a file of one stage. Uncertainty
constants come from ``s3k calibrate``; until then they are stated as provisional.
"""

from __future__ import annotations

import argparse
import dataclasses
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
from s3k_ros.perception.model_file import (
    ConfidenceDescription,
    KeypointModel,
    ModelDescription,
    StageDescription,
    UncertaintyDescription,
    WeightDescription,
    attach_description,
)
from s3k_ros.training.dataset.reader import Dataset, Image
from s3k_ros.training.method.network import KeypointNetwork
from s3k_ros.training.model.parity import LIMIT_PX, Parity, measure
from s3k_ros.training.run.checkpoint import Checkpoint

OPSET = 17
MAX_BYTES = 5_000_000
"""A shipped file must stay below this."""
_PARITY = 2e-3
"""Largest difference of logits between PyTorch and ONNX Runtime: float32 sums in another order."""
WEIGHTS = "model.safetensors"
"""The chosen weights in the folder of a stage."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``s3k export``."""
    parser.add_argument(
        "run", help="folder of the run: coarse/model.safetensors and, if any, crop/"
    )
    parser.add_argument("--out", required=True, help="the ONNX file to write")
    parser.add_argument(
        "--skeleton", default="", help="pairs of keypoints to draw, as head:body,body:tail"
    )
    parser.add_argument("--dataset", help="dataset whose images serve the comparison with PyTorch")
    parser.add_argument("--scenes", type=int, default=5, help="scenes of it to compare")
    parser.add_argument("--reference-width", type=int, default=640, help="image width, px")


def run(args: argparse.Namespace) -> int:
    """Writes the model file with provisional uncertainty."""
    coarse, crop = load_run(Path(args.run))
    pairs = parse_skeleton(args.skeleton, coarse.keypoints)
    images: list[Image] = []
    if args.dataset:
        dataset = Dataset(args.dataset)
        for sample in range(min(args.scenes, len(dataset))):
            images += dataset.images(sample)
    description = describe(coarse, crop, pairs, args.reference_width)
    parity = export(coarse, crop, description, Path(args.out), images, MAX_BYTES)
    print(f"wrote {args.out} ({Path(args.out).stat().st_size / 1e6:.2f} MB)")
    for stage, distance in parity.px.items():
        print(
            f"{stage}: {parity.keypoints[stage]} confident keypoints on {len(images)} views, at "
            f"most {distance:.2g} px from PyTorch (allowed: {LIMIT_PX})"
        )
    return 0


def load_run(folder: Path) -> tuple[Checkpoint, Checkpoint | None]:
    """The chosen weights of a run's stages; no crop stage: None.

    Raises:
        ConfigurationError: no coarse stage, or a file that is no checkpoint.
    """
    coarse, crop = (folder / stage / WEIGHTS for stage in ("coarse", "crop"))
    return Checkpoint.load(coarse), Checkpoint.load(crop) if crop.exists() else None


def export(
    coarse: Checkpoint,
    crop: Checkpoint | None,
    description: ModelDescription,
    path: Path,
    images: Sequence[Image] = (),
    max_bytes: int | None = None,
) -> Parity:
    """Writes the ONNX file and checks that it computes what PyTorch computes.

    Args:
        coarse: the stage on whole views.
        crop: the stage on the object's crop; None: the coarse stage gives the positions.
        description: of both, from `describe`; the comparison is added to its training record.
        path: the file to write.
        images: BGR views (H, W, 3) on which decoded keypoints are compared.
        max_bytes: largest size of the file.

    Raises:
        ConfigurationError: stages of different keypoints, logits or keypoints that differ from
            those of PyTorch, or a file too large; nothing is written then.
    """
    checkpoints = _stages(coarse, crop)
    graphs, networks = {}, {}
    for stage, checkpoint in checkpoints.items():
        if checkpoint.params.stage != stage:
            raise ConfigurationError(f"{stage}: the checkpoint is of {checkpoint.params.stage!r}")
        if checkpoint.keypoints != coarse.keypoints:
            raise ConfigurationError(
                f"the stages name different keypoints: {coarse.keypoints} and "
                f"{checkpoint.keypoints}"
            )
        networks[stage] = checkpoint.network().to(memory_format=torch.contiguous_format)
        graphs[stage] = _one_graph(networks[stage], description.stages[stage], stage)
    model = graphs["coarse"]
    if crop is not None:
        model = onnx.compose.merge_models(model, graphs["crop"], io_map=[])
    model.graph.name = description.object_id
    model.producer_name = "s3k_ros"
    model.doc_string = ""
    attach_description(model, description)
    onnx.checker.check_model(model)
    parity = measure(KeypointModel.parse(model.SerializeToString()), networks, images)
    parity.check()
    attach_description(model, _with_parity(description, parity, len(images)))
    data = model.SerializeToString()
    if max_bytes is not None and len(data) > max_bytes:
        raise ConfigurationError(f"the file would have {len(data)} bytes, allowed: {max_bytes}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return parity


def describe(
    coarse: Checkpoint,
    crop: Checkpoint | None,
    skeleton: Sequence[tuple[int, int]] = (),
    reference_width: int = 640,
    uncertainty: UncertaintyDescription | None = None,
    figures: Mapping[str, Any] | None = None,
) -> ModelDescription:
    """The description of the networks; uncertainty stays provisional when none is given."""
    checkpoints = _stages(coarse, crop)
    stages = {name: _stage(checkpoint) for name, checkpoint in checkpoints.items()}
    params = (crop or coarse).params
    return ModelDescription(
        object_id=str(coarse.info.get("object_id", "object")),
        keypoints=tuple(coarse.keypoints),
        skeleton=tuple(skeleton),
        coarse=stages["coarse"],
        crop=stages.get("crop"),
        window_px=max(1, round(2.5 * params.sigma_px)),
        weights=WeightDescription(params.alpha, params.beta),
        uncertainty=uncertainty or provisional_uncertainty(len(coarse.keypoints), reference_width),
        training={
            **{name: _record(checkpoint) for name, checkpoint in checkpoints.items()},
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


def _stages(coarse: Checkpoint, crop: Checkpoint | None) -> dict[str, Checkpoint]:
    return {"coarse": coarse} if crop is None else {"coarse": coarse, "crop": crop}


def _stage(checkpoint: Checkpoint) -> StageDescription:
    params = checkpoint.params
    size = (params.input_height, params.input_width)
    with torch.no_grad():
        columns = checkpoint.network()(torch.zeros(1, 3, *size)).shape[-1]
    return StageDescription(
        input_size=size,
        stride=size[1] // columns,
        sigma_px=params.sigma_px,
        crop_fraction=params.crop_fraction if params.stage == "crop" else None,
    )


def _with_parity(description: ModelDescription, parity: Parity, views: int) -> ModelDescription:
    record = {"views": views, "keypoints": parity.keypoints, "px": parity.px}
    return dataclasses.replace(description, training={**description.training, "parity": record})


def _record(checkpoint: Checkpoint) -> dict[str, Any]:
    record = {**checkpoint.info, "seed": checkpoint.params.seed, "steps": checkpoint.step}
    return dict(json.loads(json.dumps(record, default=str)))


def _one_graph(network: KeypointNetwork, stage: StageDescription, name: str) -> onnx.ModelProto:
    example = torch.rand(2, 3, *stage.input_size) * 255
    buffer = io.BytesIO()
    names = (f"{name}_image", f"{name}_logits")
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
        model, prefix=f"{name}/", rename_inputs=False, rename_outputs=False
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
    """``python -m s3k_ros.training.model.export``."""
    parser = argparse.ArgumentParser(prog="s3k export")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
