"""A keypoint model without training: it finds K blobs of known colours.

`write_model(path)` writes a valid model file (its stages, metadata, calibrated-looking
uncertainty). Its logits fall with the squared distance of a pixel's colour to the keypoint's
colour, so on images painted with `paint` the peak of heatmap k is the blob of colour k. It loads
through `KeypointModel.load` like any other model, which lets tests of the detector, the nodes and
the grasp server run the whole path from images to 3D positions.

Typical use::

    write_model(tmp_path / "blobs.onnx", keypoints=("head", "tail"))
    image = paint(640, 480, [(100.0, 200.0), None])       # the second keypoint is not visible
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from s3k_ros.geometry.camera import Camera
from s3k_ros.perception.model_file import (
    ConfidenceDescription,
    ModelDescription,
    StageDescription,
    UncertaintyDescription,
    WeightDescription,
    attach_description,
)

Image = NDArray[np.uint8]

KEYPOINTS = ("head", "left_front_paw", "right_front_paw", "body", "tail")
# BGR, far from each other and from the grey background.
COLOURS = np.array(
    [[20, 20, 230], [20, 230, 20], [230, 20, 20], [20, 230, 230], [230, 20, 230], [230, 230, 20]]
)
BACKGROUND = 100
# Of the squared colour distance (0..255 per channel); a blob stands 20 and more above the rest.
_SHARPNESS = 1.0 / 1000.0


def description(
    keypoints: Sequence[str] = KEYPOINTS,
    object_id: str = "plush_fox",
    coarse_size: tuple[int, int] = (120, 160),
    crop_size: tuple[int, int] | None = (128, 128),
    crop_fraction: float = 0.4,
) -> ModelDescription:
    """The description of the synthetic model, for images of any size.

    Without a ``crop_size`` it has the coarse stage alone.
    """
    count = len(keypoints)
    variance = ((0.25, 0.0), (0.0, 0.25))
    common = tuple(tuple(1e-6 * float(i == j) for j in range(3)) for i in range(3))
    return ModelDescription(
        object_id=object_id,
        keypoints=tuple(keypoints),
        skeleton=tuple((0, i) for i in range(1, count)),
        coarse=StageDescription(coarse_size, 2, 2.0),
        crop=StageDescription(crop_size, 2, 2.0, crop_fraction) if crop_size else None,
        window_px=4,
        weights=WeightDescription(),
        uncertainty=UncertaintyDescription(
            pixel_variance=(variance,) * count,
            reference_width=640,
            spread_gain=(0.5,) * count,
            common_mode=(common,) * count,
            confidence=ConfidenceDescription(4.0, {"log_peak_mass": 2.0, "log_spread": -1.0}),
            provisional=True,
        ),
        training={"command": "synthetic", "seed": 0, "commit": "", "data": {}, "figures": {}},
    )


def build_model(model_description: ModelDescription) -> onnx.ModelProto:
    """The ONNX graph whose logits are -sharpness |colour - colour_k|^2, averaged over a cell.

    |c - c_k|^2 = |c|^2 - 2 c . c_k + |c_k|^2, so it is one square and one 1x1 convolution. The
    background gets a floor far below the blobs, so that a missing blob gives a flat map.
    """
    count = len(model_description.keypoints)
    if count > len(COLOURS):
        raise ValueError(f"{count} keypoints, but only {len(COLOURS)} colours")
    rgb = COLOURS[:count, ::-1].astype(np.float32)
    kernel = np.concatenate([np.full((count, 3), -1.0), 2.0 * rgb], axis=1) * _SHARPNESS
    bias = -(rgb**2).sum(axis=1) * _SHARPNESS
    constants = {
        "kernel": kernel.reshape(count, 6, 1, 1).astype(np.float32),
        "bias": bias.astype(np.float32),
        "floor": np.float32(-12.0),
        "top": np.float32(0.0),
    }
    nodes, inputs, outputs = [], [], []
    for name, stage in model_description.stages.items():
        stride = [stage.stride, stage.stride]
        nodes += [
            helper.make_node("AveragePool", [f"{name}_image"], [f"{name}_cells"],
                             kernel_shape=stride, strides=stride),
            helper.make_node("Mul", [f"{name}_cells"] * 2, [f"{name}_square"]),
            helper.make_node("Concat", [f"{name}_square", f"{name}_cells"], [f"{name}_both"],
                             axis=1),
            helper.make_node("Conv", [f"{name}_both", "kernel", "bias"], [f"{name}_distance"]),
            helper.make_node("Clip", [f"{name}_distance", "floor", "top"], [f"{name}_logits"]),
        ]  # fmt: skip
        size, grid = stage.input_size, stage.grid_size
        inputs.append(_value(f"{name}_image", ["N", 3, *size]))
        outputs.append(_value(f"{name}_logits", ["N", count, *grid]))
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "blobs", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    attach_description(model, model_description)
    onnx.checker.check_model(model)
    return model


def write_model(
    path: str | Path,
    keypoints: Sequence[str] = KEYPOINTS,
    object_id: str = "plush_fox",
    *,
    crop: bool = True,
) -> ModelDescription:
    """Writes the synthetic model file, without a crop stage if so, and returns its description."""
    sizes = {} if crop else {"coarse_size": (240, 320), "crop_size": None}
    model_description = description(keypoints, object_id, **sizes)  # type: ignore[arg-type]
    onnx.save(build_model(model_description), str(path))
    return model_description


def paint(
    width: int,
    height: int,
    pixels: Sequence[tuple[float, float] | None] | NDArray[np.float64],
    radius: float = 8.0,
) -> Image:
    """A grey BGR image with one soft disc per keypoint, its centre at a sub-pixel position (u, v).

    A keypoint that is None, not finite or outside the image is not drawn.
    """
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    shift = 4  # OpenCV's fixed point: sixteenths of a pixel
    for colour, pixel in zip(COLOURS, pixels, strict=False):
        if pixel is None or not np.isfinite(pixel).all():
            continue
        centre = tuple(round(float(x) * 2**shift) for x in pixel)
        size = round(radius * 2**shift)
        cv2.circle(image, centre, size, colour.tolist(), cv2.FILLED, cv2.LINE_AA, shift)
    # Soft edges: a hard one says little about the centre's place between two heatmap cells.
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 * radius), np.uint8)


def paint_views(
    cameras: Sequence[Camera], points: NDArray[np.float64], radius: float = 8.0
) -> list[Image]:
    """What the cameras see of K keypoints at points (K, 3) in the base frame."""
    return [
        paint(camera.width, camera.height, camera.project(points), radius) for camera in cameras
    ]


def _value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def with_changes(model_description: ModelDescription, **changes: object) -> ModelDescription:
    """A copy of the description with other values, for tests of bad files."""
    return dataclasses.replace(model_description, **changes)  # type: ignore[arg-type]
