from __future__ import annotations

import numpy as np
import pytest
from support.rigs import make_rig

from s3k_ros.geometry import _native
from s3k_ros.geometry.camera import CameraStack
from s3k_ros.perception.mixture import Fit, Mixture, fit_at


def scene(cameras: int = 4, count: int = 7) -> tuple[CameraStack, np.ndarray, Mixture]:
    """Points (N, 3), up to a millimetre from where the views, some of them wrong, were made."""
    rng = np.random.default_rng(5)
    rig = make_rig("rational_polynomial", cameras)
    truth = np.array([0.6, 0.0, 0.05]) + rng.uniform(-0.1, 0.1, (count, 3))
    pixels = np.array([camera.project(truth) for camera in rig])
    pixels += rng.normal(0.0, 2.0, pixels.shape)
    pixels[0, ::2] += 10.0  # a near miss
    pixels[1, 1] += 200.0
    pixels[2, 2] = np.nan
    root = rng.normal(0.0, 0.5, (cameras, count, 2, 2))
    covariances = np.eye(2) + root @ root.swapaxes(-1, -2)
    confidences = rng.uniform(0.2, 0.99, (cameras, count))
    widths = np.full(cameras, 640.0)
    usable = np.ones((cameras, count), bool)
    usable[0, 1] = False
    mixture = Mixture.of(pixels, covariances, confidences, usable, widths)
    return CameraStack(rig), truth + rng.normal(0.0, 1e-3, truth.shape), mixture


def likelihood(stack: CameraStack, point: np.ndarray, k: int, mixture: Mixture) -> float:
    """The logarithm as the module's text has it, above that of views that are lost."""
    total = 0.0
    projected = stack.project(point[np.newaxis])[0][:, 0]
    for c in range(len(stack)):
        if not mixture.seen[c, k]:
            continue
        r = mixture.pixels[c, k] - projected[c]
        right = mixture.log_right[c, k] - 0.5 * r @ mixture.precisions[c, k] @ r
        near = mixture.log_near[c, k] - 0.5 * mixture.loose[c, 0] * r @ r
        lost = mixture.log_lost[c, k]
        total += np.logaddexp.reduce([right, near, lost]) - lost
    return total


def test_gain_and_gradient_are_those_of_the_likelihood() -> None:
    stack, points, mixture = scene()
    fit = fit_at(stack, points, mixture)
    step = 1e-6
    for k, point in enumerate(points):
        assert fit.gain[k] == pytest.approx(likelihood(stack, point, k, mixture), abs=1e-9)
        slope = [
            (likelihood(stack, point + d, k, mixture) - likelihood(stack, point - d, k, mixture))
            / (2 * step)
            for d in step * np.eye(3)
        ]
        assert np.allclose(fit.gradient[k], slope, rtol=1e-4, atol=1e-3)


def test_information_is_that_of_views_weighed_by_their_probabilities() -> None:
    stack, points, mixture = scene()
    fit = fit_at(stack, points, mixture)
    pixels, jacobians, _ = stack.project(points)
    assert np.allclose(fit.residuals, mixture.pixels - pixels, atol=1e-9)
    precision = fit.right[..., np.newaxis, np.newaxis] * mixture.precisions
    precision += (fit.near * mixture.loose)[..., np.newaxis, np.newaxis] * np.eye(2)
    information = np.einsum("ckpi,ckpq,ckqj->kij", jacobians, precision, jacobians)
    assert np.allclose(fit.information, information, rtol=1e-9)
    assert (fit.right + fit.near <= 1.0 + 1e-12).all()
    assert not (fit.right + fit.near)[~mixture.seen].any()
    assert fit.right[1, 1] < 1e-6  # 200 px off
    # A square of half an image's width, at the distance of the cameras.
    assert np.allclose(fit.span, 320 / 393.5 * 1.1, rtol=0.2)


def test_a_point_that_no_view_has_before_it_says_nothing() -> None:
    stack, points, mixture = scene()
    points[3] = np.nan
    points[4] = stack.centres.mean(axis=0) + np.array([0.0, 0.0, 50.0])
    fit = fit_at(stack, points, mixture)
    for k in (3, 4):
        assert fit.gain[k] == 0.0 and not fit.right[:, k].any() and np.isnan(fit.span[k])
        assert not fit.gradient[k].any() and not fit.information[k].any()
        assert np.isfinite(fit.damped[k]).all()
    assert np.isfinite(fit.gain).all()


def test_every_width_of_vectors_and_each_column_alone_give_the_same() -> None:
    stack, points, mixture = scene()
    found = []
    try:
        found = [fit_at(stack, points, mixture) for n in (2, 4, 8) if _native.set_lanes(n)]
    finally:
        for lanes in (2, 4, 8):
            _native.set_lanes(lanes)
    found.append(fit_at(stack, np.asfortranarray(points), mixture))
    for name in Fit.__dataclass_fields__:
        for other in found[1:]:
            assert np.allclose(getattr(found[0], name), getattr(other, name), equal_nan=True)
    for k in range(len(points)):
        one = fit_at(stack, points[k : k + 1], mixture.at(np.array([k])))
        assert one.gain[0] == found[-1].gain[k]
        assert np.array_equal(one.information[0], found[-1].information[k])
