# ruff: noqa: E402
from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pyarrow")

from support.toy_training import rig

from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.augmentation import Warp, make_batch, random_warp, recolour, render
from s3k_ros.training.views import whole_views, window_views

pytestmark = pytest.mark.torch

POINT = np.array([0.06, -0.03, 0.02])
WHOLE = TrainingParameters(input_height=96, input_width=128)
CROP = TrainingParameters(stage="crop", input_height=96, input_width=96, crop_fraction=0.4)


def spot_views(params: TrainingParameters):
    """Views of a white spot at POINT on black."""
    cameras, images = rig(320, 240), []
    for camera in cameras:
        image = np.zeros((240, 320, 3), np.uint8)
        centre = tuple(int(v) for v in np.round(camera.project(POINT[None])[0] * 16))
        cv2.circle(image, centre, 6 * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
        images.append(image)
    if params.stage == "crop":
        return window_views(images, cameras, POINT + np.array([0.02, 0.01, 0.0]), params)
    return whole_views(images, cameras, params)


def found_and_predicted(view, warp: Warp, params: TrainingParameters):
    image, matrix = render(view, warp, params)
    mass = image[..., 0].astype(float)
    v, u = np.mgrid[: mass.shape[0], : mass.shape[1]]
    found = np.array([(mass * u).sum(), (mass * v).sum()]) / mass.sum()
    cell = matrix @ (POINT - view.centre)
    return found, 2 * cell[:2] / cell[2] + 0.5  # cell j is input pixel 2 j + 1/2


@pytest.mark.parametrize("params", [WHOLE, CROP], ids=["coarse", "crop"])
@pytest.mark.parametrize(
    "warp",
    [
        Warp(),
        Warp(turn_rad=1.2),
        Warp(tilt_rad=(0.1, -0.08)),
        Warp(turn_rad=-2.5, tilt_rad=(0.05, 0.05), zoom=1.2, shift=(0.08, -0.05)),
        Warp(turn_rad=0.7, mirror=True),
    ],
    ids=["plain", "turn", "tilt", "all", "mirror"],
)
def test_virtual_camera_projects_where_the_warped_image_shows_it(params, warp: Warp) -> None:
    for view in spot_views(params):
        found, predicted = found_and_predicted(view, warp, params)
        assert np.abs(found - predicted).max() < 0.35


def test_random_warps_stay_exact() -> None:
    params = TrainingParameters(
        stage="crop",
        input_height=96,
        input_width=96,
        crop_fraction=0.5,
        shift_fraction=0.05,
        mirror=True,
    )
    rng = np.random.default_rng(0)
    for view in spot_views(params):
        for _ in range(10):
            found, predicted = found_and_predicted(view, random_warp(rng, params), params)
            assert np.abs(found - predicted).max() < 0.5


def test_batch_is_the_same_for_the_same_generator() -> None:
    samples = [spot_views(CROP)]
    first, second = (make_batch(samples, CROP, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.cameras.matrix, second.cameras.matrix)


def test_recolouring_keeps_shape_and_type() -> None:
    image = spot_views(CROP)[0].image
    out = recolour(image, np.random.default_rng(1), TrainingParameters(photometric=2.0, cutout=1.0))
    assert out.shape == image.shape
    assert out.dtype == np.uint8
