"""`s3k bench triangulation`: our part; a stand-in takes the place of aniposelib."""

from __future__ import annotations

import argparse
import sys
import time
import types

import cv2
import numpy as np
import pytest

from s3k_ros.bench import triangulation as bench
from s3k_ros.cli import main
from s3k_ros.errors import ConfigurationError
from s3k_ros.geometry.triangulation import triangulate


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(words)


def _slow(rig: list[bench.Camera]) -> dict[str, bench.Method]:
    """Plain least squares after a pause, in the place of aniposelib's ways."""
    method = bench.ours(rig, triangulate)

    def late(pixels: np.ndarray) -> np.ndarray:
        time.sleep(0.001)
        return method(pixels)

    return dict.fromkeys(("plain", "fast", bench.RANSAC), late)


def test_every_way_is_compared_at_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SIZES", (4, 40))
    monkeypatch.setattr(bench, "peers", _slow)
    result = bench.run(_arguments("--rounds", "2", "--ransac-points", "20"))
    measured = {target.name: target for target in result.targets}
    assert len(measured) == 2 * 3 + 3 * 2
    times = result.figures["ms"]
    for n in (4, 40):
        for name in ("plain", "fast", "RANSAC"):
            ratio = times[f"{n} points"][name] / times[f"{n} points"]["ours"]
            target = measured[f"times as fast as {name}, {n} points"]
            assert target.measured == pytest.approx(ratio)
            assert target.limit == 10
    # RANSAC got half of the points, and its pause counts twice.
    assert times["40 points"]["RANSAC"] > 2.0
    errors = result.figures["error_mm"]
    assert errors["ours"]["p95"] < 10 < errors["plain"]["p95"]
    assert measured["error over that of plain, p95"].passed


def test_a_refused_point_is_a_miss() -> None:
    truth = np.zeros((20, 3))
    found = np.full((20, 3), 1e-3)
    found[:2] = np.nan
    methods = {bench.OURS: lambda pixels: found}
    figures, same = bench.error_figures(methods, bench.OURS, truth, np.zeros((4, 20, 2)), 1)
    assert figures == same
    assert figures["median"] == pytest.approx(np.sqrt(3))
    assert figures["p95"] == np.inf
    assert figures["refused_percent"] == 10


def test_a_tenth_is_missing_and_another_wrong() -> None:
    rig = bench.make_rig()
    for count, affected in ((4, 1), (1000, 100)):
        truth, pixels = bench.views(rig, count, seed=3)
        ideal = np.array([camera.project(truth) for camera in rig])
        missing = np.isnan(pixels).any(axis=-1)
        wrong = np.abs(pixels - ideal).max(axis=-1) > 6
        assert missing.sum() == affected
        assert 0.8 * affected <= wrong.sum() <= affected
        assert not (missing.any(axis=0) & wrong.any(axis=0)).any()


def test_aniposelib_gets_the_same_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = []

    class Group:
        def __init__(self, cameras: list[types.SimpleNamespace]) -> None:
            groups.append(cameras)

    fake = types.ModuleType("aniposelib.cameras")
    vars(fake).update(Camera=lambda **values: types.SimpleNamespace(**values), CameraGroup=Group)
    monkeypatch.setitem(sys.modules, "aniposelib", types.ModuleType("aniposelib"))
    monkeypatch.setitem(sys.modules, "aniposelib.cameras", fake)
    rig = bench.make_rig()
    assert set(bench.peers(rig)) == {"plain", "fast", "RANSAC"}
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (9, 3)) + np.array([0.6, 0, 0])
    for peer, camera in zip(groups[0], rig, strict=True):
        pixels, _ = cv2.projectPoints(points, peer.rvec, peer.tvec, peer.matrix, peer.dist)
        assert np.allclose(pixels[:, 0], camera.project(points), atol=1e-6)


def test_without_aniposelib_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "aniposelib", None)
    monkeypatch.setitem(sys.modules, "aniposelib.cameras", None)
    assert main(["bench", "triangulation"]) == 1
    assert "make setup-bench" in capsys.readouterr().err


def test_impossible_numbers_are_named() -> None:
    with pytest.raises(ConfigurationError, match="--ransac-points"):
        bench.run(_arguments("--ransac-points", "0"))
