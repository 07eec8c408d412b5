# ruff: noqa: E402
from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pyarrow")

from support.toy_training import rig

from s3k_ros.geometry.camera import Camera
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.inputs.augmentation import (
    Renderer,
    Warps,
    cells_from_base,
    input_from_full,
    plain_warps,
    random_warps,
    warp,
)
from s3k_ros.training.inputs.colours import draw_colours, recolour
from s3k_ros.training.inputs.views import ViewSet, frames, geometry, stack_geometry

pytestmark = pytest.mark.torch

POINT = np.array([0.06, -0.03, 0.02])
WHOLE = TrainingParameters(input_height=96, input_width=128)
CROP = TrainingParameters(stage="crop", input_height=96, input_width=96, crop_fraction=0.4)
FINE = dataclasses.replace(CROP, heatmap_stride=1)
CPU = torch.device("cpu")


def spot_views(params: TrainingParameters, size: tuple[int, int] = (320, 240)) -> ViewSet:
    """One sample's views of a white spot at POINT on black."""
    cameras = rig(*size)
    centre = POINT + np.array([0.02, 0.01, 0.0]) if params.stage == "crop" else None
    kept, aims = frames(cameras, params, centre)
    pixels = np.stack([f.cut(spot(c)) for f, c in zip(kept, cameras, strict=True)])
    views = stack_geometry([geometry(cameras, kept, aims)])
    return ViewSet(torch.from_numpy(pixels[None]), views, (0,))


def spot(camera: Camera) -> np.ndarray:
    image = np.zeros((camera.height, camera.width, 3), np.uint8)
    centre = tuple(int(v) for v in np.round(camera.project(POINT[None])[0] * 16))
    cv2.circle(image, centre, 6 * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
    return image


def found_and_predicted(views: ViewSet, warps: Warps, params: TrainingParameters):
    """Pixels (C, 2) of the spot: where the warped image shows it and where M projects it."""
    renderer = Renderer(params, CPU)
    images, shape = renderer.fetch(views, np.array([0]))
    batch = renderer._render(images, shape, warps)
    mass = batch.images[0, :, 0].double().numpy()
    v, u = np.mgrid[: mass.shape[1], : mass.shape[2]]
    found = np.stack([(mass * u).sum((1, 2)), (mass * v).sum((1, 2))], -1)
    found /= mass.sum((1, 2))[:, None]
    cells, _ = batch.cameras.project(torch.from_numpy(POINT).float().view(1, 1, 3))
    stride = params.heatmap_stride  # cell j is input pixel s j + (s - 1) / 2
    return found, stride * cells[0, :, 0].numpy() + (stride - 1) / 2


def same(turn: float = 0.0, tilt=(0.0, 0.0), zoom=1.0, shift=(0.0, 0.0), mirror=False) -> Warps:
    """The same warp for four views."""
    plain = plain_warps((1, 4), turn)
    return dataclasses.replace(
        plain,
        tilt_rad=np.broadcast_to(np.array(tilt), (1, 4, 2)),
        zoom=np.full((1, 4), zoom),
        shift=np.broadcast_to(np.array(shift), (1, 4, 2)),
        mirror=np.full((1, 4), mirror),
    )


@pytest.mark.parametrize("params", [WHOLE, CROP, FINE], ids=["coarse", "crop", "stride 1"])
@pytest.mark.parametrize(
    "warps",
    [
        same(),
        same(turn=1.2),
        same(tilt=(0.1, -0.08)),
        same(turn=-2.5, tilt=(0.05, 0.05), zoom=1.2, shift=(0.08, -0.05)),
        same(turn=0.7, mirror=True),
    ],
    ids=["plain", "turn", "tilt", "all", "mirror"],
)
def test_virtual_camera_projects_where_the_warped_image_shows_it(params, warps: Warps) -> None:
    found, predicted = found_and_predicted(spot_views(params), warps, params)
    assert np.abs(found - predicted).max() < 0.12


def test_random_warps_stay_exact() -> None:
    params = dataclasses.replace(CROP, crop_fraction=0.5, shift_fraction=0.05, mirror=True)
    rng, views = np.random.default_rng(0), spot_views(CROP)
    views = spot_views(params)
    for _ in range(10):
        warps = random_warps((1, 4), rng, params)
        found, predicted = found_and_predicted(views, warps, params)
        assert np.abs(found - predicted).max() < 0.15


def test_windows_at_the_border_of_the_image_stay_exact() -> None:
    """A window larger than the image keeps the image; the rest repeats its border."""
    params = dataclasses.replace(CROP, crop_fraction=0.75)
    views = spot_views(params, (160, 120))
    found, predicted = found_and_predicted(views, same(turn=0.4), params)
    assert np.abs(found - predicted).max() < 0.2


def test_warp_matrix_agrees_with_projecting_points_through_the_turned_camera() -> None:
    """M (x - o) equals: rotate the camera about its centre, project, then scale to the input."""
    cameras = rig(320, 240)
    kept, aims = frames(cameras, WHOLE)
    views = stack_geometry([geometry(cameras, kept, aims)])
    warps = same(turn=0.3)
    inputs = input_from_full(views, warps, WHOLE)
    matrix = cells_from_base(views, inputs, 2)
    for place, camera in enumerate(cameras):
        turn = cv2.Rodrigues(np.array([0.0, 0.0, 0.3]))[0]
        local = turn @ camera.base_from_camera.rotation.T @ (POINT - camera.centre)
        full = camera.matrix @ local
        u, v = full[:2] / full[2]
        expected = np.array([(u + 0.5) * 128 / 320 - 0.5, (v + 0.5) * 96 / 240 - 0.5])
        cell = matrix[0, place] @ (POINT - camera.centre)
        assert cell[:2] / cell[2] == pytest.approx((expected - 0.5) / 2, abs=1e-9)


def test_warp_reads_pixels_as_opencv_does() -> None:
    rng = np.random.default_rng(3)
    image = cv2.GaussianBlur(rng.integers(0, 256, (40, 50, 3), np.uint8), (0, 0), 2.0)
    matrix = np.array([[0.9, 0.2, 3.0], [-0.1, 1.1, -2.0], [1e-3, -5e-4, 1.0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpPerspective(
        image, matrix, (44, 30), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    found = warp(pixels, torch.from_numpy(matrix)[None].float(), (30, 44))
    error = np.abs(found[0].permute(1, 2, 0).numpy() - expected)
    assert error.max() < 3.0  # OpenCV rounds positions to 1/32 px and values to whole numbers


def test_an_identical_warp_changes_no_pixel() -> None:
    pixels = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0)) * 255
    found = warp(pixels, torch.eye(3).repeat(2, 1, 1), (20, 30))
    assert torch.allclose(found, pixels, atol=1e-3)


def test_plain_views_of_several_turns_come_turns_slowest() -> None:
    views = spot_views(WHOLE)
    renderer = Renderer(WHOLE, CPU)
    batch = renderer.plain(*renderer.fetch(views, np.array([0])), (0.0, np.pi))
    single = renderer.plain(*renderer.fetch(views, np.array([0])))
    assert torch.equal(batch.images[:, :4], single.images)
    assert torch.equal(batch.cameras.centre[:, :4], batch.cameras.centre[:, 4:])


def test_batch_is_the_same_for_the_same_generator() -> None:
    views, renderer = spot_views(CROP), Renderer(CROP, CPU)
    first, second = (
        renderer.augmented(*renderer.fetch(views, np.array([0])), np.random.default_rng(5))
        for _ in range(2)
    )
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.cameras.matrix, second.cameras.matrix)


def test_views_of_one_sample_get_different_warps() -> None:
    warps = random_warps((2, 4), np.random.default_rng(0), CROP)
    assert len(np.unique(warps.turn_rad)) == 8


def test_switched_off_augmentation_leaves_the_plain_views() -> None:
    params = dataclasses.replace(WHOLE, augment=False, photometric=0.0, cutout=0.0)
    views, renderer = spot_views(params), Renderer(params, CPU)
    fetched = renderer.fetch(views, np.array([0]))
    changed = renderer.augmented(*fetched, np.random.default_rng(0))
    assert torch.equal(changed.images, renderer.plain(*fetched).images)


def test_recolouring_keeps_shape_and_range() -> None:
    params = TrainingParameters(photometric=2.0, cutout=1.0)
    images = torch.rand(6, 3, 24, 32, generator=torch.Generator().manual_seed(0)) * 255
    out = recolour(images.clone(), draw_colours(6, np.random.default_rng(1), params))
    assert out.shape == images.shape
    assert float(out.min()) >= 0 and float(out.max()) <= 255
    assert not torch.allclose(out, images)


def test_cut_outs_alone_leave_the_other_pixels() -> None:
    params = TrainingParameters(photometric=0.0, cutout=1.0)
    images = torch.full((8, 3, 40, 40), 77.0)
    out = recolour(images.clone(), draw_colours(8, np.random.default_rng(0), params))
    changed = (out != 77.0).any(1).float().mean((1, 2))
    assert float(changed.max()) > 0
    assert float(changed.max()) < 0.3
