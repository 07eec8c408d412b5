# ruff: noqa: E402
"""What pseudo-labels promise, on made-up maps: one test a claim."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from support.toy_views import repeated, ring

from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.method.losses import gaussian_targets, self_supervised_loss
from s3k_ros.training.method.multiview import VirtualCameras
from s3k_ros.training.method.peaks import find_peaks, window_moments
from s3k_ros.training.method.shape_prior import ShapePrior
from s3k_ros.training.method.teacher import pseudo_labels

pytestmark = pytest.mark.torch

SIZE = 64
DISTANCES = TrainingParameters(stage="crop", gate=True, shape="distances")
RIGID = dataclasses.replace(DISTANCES, shape="rigid")
FREE = dataclasses.replace(DISTANCES, shape="none")
SWITCHES = [
    dataclasses.replace(DISTANCES, gate=gate, shape=shape)
    for gate in (True, False)
    for shape in ("none", "distances", "rigid")
]
# head, left paw, right paw, body
TOY = np.array([[0.11, 0, 0.07], [0.07, 0.07, 0.02], [0.07, -0.07, 0.02], [0.0, 0, 0.05]])
# Three corners of a thin box that stands on its long edge.
BOX = np.array([[-0.1, 0.008, 0.105], [0.1, -0.008, 0.105], [0.1, 0.008, 0.0]])


def rig() -> VirtualCameras:
    return ring((0.5, 1.9, 3.6, 5.0), 120.0, SIZE)


def turned(shape: np.ndarray, yaw: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return shape @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T


def prior(shape: np.ndarray) -> ShapePrior:
    points = np.stack([turned(shape, yaw) for yaw in np.linspace(0, 6, 10)])
    points = points + np.random.default_rng(0).normal(0, 0.001, points.shape)
    return ShapePrior.from_points(points, 0.012)


def maps(points: np.ndarray) -> torch.Tensor:
    pixels, _ = rig().project(torch.tensor(points[None]).float())
    return gaussian_targets(pixels, SIZE, SIZE, DISTANCES.sigma_px)


def largest_error(found: torch.Tensor, points: np.ndarray) -> float:
    return float(np.linalg.norm(found[0].numpy() - points, axis=-1).max())


@pytest.mark.parametrize("params", SWITCHES, ids=lambda p: f"gate={p.gate}-{p.shape}")
@pytest.mark.parametrize("shape", [TOY, BOX], ids=["toy", "box"])
def test_clean_maps_give_back_the_points(params: TrainingParameters, shape: np.ndarray) -> None:
    points = turned(shape, 0.8)
    found = pseudo_labels(maps(points), rig(), prior(shape), params)
    assert (found.weight > 0.7).all()
    assert largest_error(found.points, points) < 2e-3


def test_without_gate_and_shape_the_estimate_is_the_reference_one() -> None:
    params = dataclasses.replace(FREE, gate=False)
    logits = maps(turned(TOY, 0.8)).clamp(min=1e-6).log()
    logits = logits + 0.5 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    _, points = self_supervised_loss(logits, rig(), params.sigma_px, params.alpha, params.beta)
    probability = torch.softmax(logits.flatten(3), -1).view(logits.shape)
    found = pseudo_labels(probability, rig(), prior(TOY), params)
    assert torch.allclose(found.points, points, atol=1e-5)
    assert (found.weight == 1).all()


def test_the_gate_keeps_out_a_view_that_disagrees() -> None:
    points = turned(TOY, 0.8)
    probability = maps(points)
    probability[0, 2, 0] = torch.roll(probability[0, 2, 0], 20, dims=1)
    plain = pseudo_labels(probability, rig(), None, dataclasses.replace(FREE, gate=False))
    assert largest_error(plain.points, points) > 0.02
    for params in (FREE, DISTANCES, RIGID):
        found = pseudo_labels(probability, rig(), prior(TOY), params)
        assert largest_error(found.points, points) < 2e-3


@pytest.mark.parametrize("params", [DISTANCES, RIGID], ids=["distances", "rigid"])
def test_the_joint_hypothesis_undoes_a_swapped_pair(params: TrainingParameters) -> None:
    """The maps of both paws lean to the wrong one, in every view; only the shape knows."""
    points = turned(TOY, 2.0)
    right = maps(points)
    swapped = right[:, :, [0, 2, 1, 3]]
    probability = 0.4 * right + 0.6 * swapped
    alone = pseudo_labels(probability, rig(), None, FREE)
    joint = pseudo_labels(probability, rig(), prior(TOY), params)
    assert np.linalg.norm(alone.points[0, 1].numpy() - points[2]) < 5e-3
    assert largest_error(joint.points, points) < 5e-3


@pytest.mark.parametrize("gate", [True, False])
def test_the_rigid_fit_restores_a_shrunken_triangle(gate: bool) -> None:
    """All views agree on corners that moved towards the centre: only the shape can tell."""
    points = turned(BOX, 2.6)
    centre = points.mean(0)
    shrunken = maps(centre + 0.88 * (points - centre))
    params = dataclasses.replace(RIGID, gate=gate)
    loose = pseudo_labels(shrunken, rig(), None, dataclasses.replace(params, shape="none"))
    fitted = pseudo_labels(shrunken, rig(), prior(BOX), params)
    assert largest_error(loose.points, points) > 0.012
    assert largest_error(fitted.points, points) < 0.003
    assert (fitted.weight > 0.5).all()


def test_distances_move_a_shrunken_shape_back_into_their_ranges() -> None:
    points = turned(BOX, 2.6)
    centre = points.mean(0)
    shrunken = maps(centre + 0.96 * (points - centre))
    found = pseudo_labels(shrunken, rig(), prior(BOX), DISTANCES)
    assert largest_error(found.points, points) < 0.004


def test_the_rigid_fit_keeps_a_hidden_corner_that_wanders() -> None:
    """Two views show the third corner, weakly; the others lay it elsewhere, each its own way."""
    points = turned(BOX, 2.6)
    probability = maps(points)
    for view, shift in ((1, (14, 3)), (3, (-9, 12))):
        probability[0, view, 2] = torch.roll(probability[0, view, 2], shift, dims=(0, 1))
    flat = torch.full((SIZE, SIZE), 1 / SIZE**2)
    for view in (0, 2):
        probability[0, view, 2] = 0.4 * probability[0, view, 2] + 0.6 * flat
    found = pseudo_labels(probability, rig(), prior(BOX), RIGID)
    assert largest_error(found.points, points) < 0.003
    assert (found.weight[0] > 0.2).all()


def test_a_corner_that_one_view_shows_is_kept_by_the_rigid_fit_alone() -> None:
    points = turned(BOX, 2.6)
    probability = maps(points)
    probability[0, 1:, 2] = 1 / SIZE**2
    loose = pseudo_labels(probability, rig(), None, FREE)
    fitted = pseudo_labels(probability, rig(), prior(BOX), RIGID)
    assert loose.weight[0, 2] == 0
    assert largest_error(fitted.points, points) < 0.003


def test_a_corner_that_no_view_shows_gets_no_weight_where_the_others_leave_it_open() -> None:
    """Two corners leave the turn about the line through them open."""
    probability = maps(turned(BOX, 2.6))
    probability[0, :, 2] = 1 / SIZE**2
    found = pseudo_labels(probability, rig(), prior(BOX), RIGID)
    assert (found.weight[0, :2] > 0.3).all()
    assert found.weight[0, 2] < 0.05


def test_a_corner_in_one_view_counts_less_than_one_in_four() -> None:
    probability = maps(turned(BOX, 2.6))
    every = pseudo_labels(probability, rig(), prior(BOX), RIGID)
    probability[0, 1:, 2] = 1 / SIZE**2
    one = pseudo_labels(probability, rig(), prior(BOX), RIGID)
    assert one.weight[0, 2] < 0.9 * every.weight[0, 2]


def test_a_wrong_shape_gives_no_pseudo_label() -> None:
    points = turned(BOX, 2.6)
    points[2] += [0.0, 0.0, 0.06]
    for params in (DISTANCES, dataclasses.replace(DISTANCES, gate=False)):
        found = pseudo_labels(maps(points), rig(), prior(BOX), params)
        assert (found.weight > 0).sum() <= 2


@pytest.mark.parametrize("params", [DISTANCES, RIGID], ids=lambda p: p.shape)
def test_views_that_do_not_agree_give_no_pseudo_label(params: TrainingParameters) -> None:
    generator = torch.Generator().manual_seed(4)
    cells = torch.randint(5, SIZE - 5, (1, 4, 4, 2), generator=generator).float()
    probability = gaussian_targets(cells, SIZE, SIZE, params.sigma_px)
    found = pseudo_labels(probability, rig(), prior(TOY), params)
    assert found.weight.sum() <= 1


@pytest.mark.parametrize("params", [FREE, DISTANCES, RIGID], ids=lambda p: p.shape)
def test_flat_maps_give_no_pseudo_label(params: TrainingParameters) -> None:
    flat = torch.full((1, 4, 4, SIZE, SIZE), 1 / SIZE**2)
    found = pseudo_labels(flat, rig(), prior(TOY), params)
    assert (found.weight == 0).all()
    assert found.points.isnan().all()


def test_samples_of_a_batch_do_not_touch_each_other() -> None:
    good = maps(turned(TOY, 0.8))
    flat = torch.full_like(good, 1 / SIZE**2)
    for params in (DISTANCES, RIGID):
        alone = pseudo_labels(good, rig(), prior(TOY), params)
        both = pseudo_labels(torch.cat([flat, good]), repeated(rig(), 2), prior(TOY), params)
        assert torch.allclose(both.points[1], alone.points[0], atol=1e-5)
        assert torch.allclose(both.weight[1], alone.weight[0], atol=1e-3)


def test_turned_copies_of_a_camera_do_not_make_two_cameras() -> None:
    """One camera at two turns sees no depth: there is nothing to triangulate."""
    one = ring((0.5,), 120.0, SIZE)
    half_turn = torch.tensor([[-1.0, 0, SIZE - 1], [0, -1, SIZE - 1], [0, 0, 1]])
    both = VirtualCameras(
        torch.cat([one.matrix, half_turn @ one.matrix], 1), torch.cat([one.centre] * 2, 1)
    )
    pixels, _ = both.project(torch.tensor(turned(TOY, 0.8)[None]).float())
    probability = gaussian_targets(pixels, SIZE, SIZE, DISTANCES.sigma_px)
    two = pseudo_labels(
        torch.cat([probability, maps(turned(TOY, 0.8))[:, 1:2].repeat(1, 2, 1, 1, 1)], 1)[
            :, [0, 2, 1, 3]
        ],
        VirtualCameras(
            torch.cat([both.matrix, rig().matrix[:, 1:2].repeat(1, 2, 1, 1)], 1)[:, [0, 2, 1, 3]],
            torch.cat([both.centre, rig().centre[:, 1:2].repeat(1, 2, 1)], 1)[:, [0, 2, 1, 3]],
        ),
        prior(TOY),
        FREE,
        turns=2,
    )
    assert largest_error(two.points, turned(TOY, 0.8)) < 2e-3


def test_without_three_keypoints_rigid_means_distances() -> None:
    shape = TOY[:2]
    points = turned(shape, 0.8)
    found = pseudo_labels(maps(points), rig(), prior(shape), RIGID)
    assert prior(shape).mean is None
    assert largest_error(found.points, points) < 2e-3


def test_pseudo_labels_stay_on_the_device_of_the_maps() -> None:
    probability = maps(turned(TOY, 0.8)).to("meta")
    for params in SWITCHES:
        found = pseudo_labels(probability, rig().to("meta"), prior(TOY), params)
        assert found.points.device.type == found.weight.device.type == "meta"


def test_peaks_are_found_strongest_first_with_their_mass() -> None:
    cells = torch.tensor([[[[[20.3, 30.8], [45.0, 12.4], [6.0, 50.0]]]]])
    blobs = gaussian_targets(cells, SIZE, SIZE, 1.5)
    probability = (blobs * torch.tensor([0.2, 0.5, 0.3])[:, None, None]).sum(3)
    found, mass = find_peaks(probability, 3, 1.5)
    assert torch.allclose(found[0, 0, 0], cells[0, 0, 0][[1, 2, 0]], atol=0.1)
    assert mass[0, 0, 0].tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


def test_window_moments_are_those_of_the_window_alone() -> None:
    probability = torch.zeros(1, 20, 30)
    probability[0, 5, 6], probability[0, 5, 8], probability[0, 15, 25] = 0.2, 0.2, 0.6
    mean, spread, mass = window_moments(probability, torch.tensor([[7.2, 5.1]]), 3)
    assert mean[0].tolist() == pytest.approx([7, 5])
    assert spread.item() == pytest.approx(np.sqrt(0.5))
    assert mass.item() == pytest.approx(0.4)


def test_window_beyond_the_map_is_empty() -> None:
    _, _, mass = window_moments(
        torch.ones(3, 8, 8), torch.tensor([[-20.0, 3], [4, 99], [1e9, 4]]), 3
    )
    assert mass.tolist() == [0, 0, 0]
