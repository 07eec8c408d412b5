"""`s3k bench scaling`: what it makes and reckons; times are not judged here."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from s3k_ros.bench import scaling as bench
from s3k_ros.errors import ConfigurationError
from s3k_ros.perception.triangulator import Status


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(words)


def test_growth_is_the_worst_step_of_the_cost() -> None:
    flat = {(c, k): 1e-3 * c * k for c in (2, 4) for k in (1, 8)}
    assert bench.growth(flat, 0) == pytest.approx(1.0)
    assert bench.growth(flat, 1) == pytest.approx(1.0)
    constant = dict.fromkeys(flat, 1e-3)
    assert bench.growth(constant, 0) == pytest.approx(1 / 2)
    assert bench.growth(constant, 1) == pytest.approx(1 / 8)
    assert bench.growth({**flat, (4, 8): 3 * flat[4, 8]}, 0) == pytest.approx(3.0)
    assert bench.growth({**flat, (4, 8): 3 * flat[4, 8]}, 1) == pytest.approx(3.0)


def test_every_combination_is_timed_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "CAMERAS", (2, 3))
    monkeypatch.setattr(bench, "KEYPOINTS", (1, 4))
    result = bench.run(_arguments("--rounds", "1"))
    assert [target.limit for target in result.targets] == [1.1] * 4
    for way in ("set", "points"):
        figures = result.figures[way]
        assert figures["keypoints"] == [1, 4]
        for name, row in figures["ms"].items():
            cameras = int(name.split()[0])
            costs = figures["us_of_a_view_and_keypoint"][name]
            for k, ms, cost in zip((1, 4), row, costs, strict=True):
                assert ms > 0 and cost == pytest.approx(1e3 * ms / (cameras * k))


def test_both_ways_find_the_keypoints() -> None:
    scene = bench.Scene(4, 16, seed=0)
    estimates, points = scene.set_call()(), scene.points_call()()
    for k, (estimate, truth) in enumerate(zip(estimates, scene.truth, strict=True)):
        assert estimate.status == Status.OK
        assert np.linalg.norm(estimate.position - truth) < 0.01
        assert np.linalg.norm(points.points[k] - truth) < 0.02
        assert points.views_used[k].sum() == (3 if k == 9 else 4)


def test_impossible_numbers_are_named() -> None:
    with pytest.raises(ConfigurationError, match="--rounds"):
        bench.run(_arguments("--rounds", "0"))
