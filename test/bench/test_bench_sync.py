"""`s3k bench sync`: its world is what it says, and its scores tell good pairing from bad."""

from __future__ import annotations

import argparse
import dataclasses
import itertools

import pytest

from s3k_ros.bench import camera_world, sync
from s3k_ros.bench.camera_world import World
from s3k_ros.errors import ConfigurationError

CALM = World(missed=0.0, lost=0.0, damaged=0.0, stalls=0.0, power_losses_s=1e9)


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    sync.add_arguments(parser)
    return parser.parse_args(words)


def test_rig_delivers_what_is_possible_and_mispairs_nothing() -> None:
    result = sync.run(arguments("--sets", "400", "--cameras", "2", "5", "--without-ros"))
    assert result.exit_code == 0
    assert result.figures["mispaired"] == {"rig": [0, 0]}
    assert all(300 < possible < 400 for possible in result.figures["possible"])


@pytest.mark.ros
def test_message_filters_gets_the_same_frames() -> None:
    scores = sync.measure(World(), 3, 600, 1, with_ros=True)
    assert len({score.possible for score in scores.values()}) == 1
    assert scores["exposure"].percent > 99.0 and scores["exposure"].mispaired == 0
    # what arrives up to three periods late cannot be paired by its arrival
    assert scores["arrival"].percent < 90.0
    assert scores["arrival_wide"].mispaired > 0


def test_score_counts_a_trigger_once_and_a_mixed_set_as_mispaired() -> None:
    score = sync.Score(seconds=1.0)
    score.add({1, 2, 3, 4}, [{1}, {1}, {2, 3}, {9}], [1, 1, 9])
    assert (score.possible, score.complete, score.sets, score.mispaired) == (4, 1, 4, 1)
    assert score.percent == 25.0
    assert score.us_a_set == 250_000.0


def test_calm_cameras_send_every_frame_once_and_in_order() -> None:
    for camera in camera_world.make(CALM, 3, 300, seed=2):
        frames = [h for h in camera.happenings if h.kind == "frame"]
        assert [h.trigger for h in frames] == list(range(300))
        assert [h.counter for h in frames] == list(range(300))
        assert all(a.tick < b.tick for a, b in itertools.pairwise(frames))


def test_faults_come_at_the_rates_that_are_set() -> None:
    world = dataclasses.replace(CALM, missed=0.1, lost=0.1, damaged=0.1, power_losses_s=30.0)
    [camera] = camera_world.make(world, 1, 5000, seed=3)
    frames = [h for h in camera.happenings if h.kind in ("frame", "damaged")]
    damaged = sum(h.kind == "damaged" for h in frames)
    losses = sum(h.kind == "gone" for h in camera.happenings)
    away = losses * 2 * world.rate_hz
    assert 2 <= losses <= 12
    assert damaged == pytest.approx(0.1 * len(frames), rel=0.3)
    assert len(frames) == pytest.approx((5000 - away) * 0.81, rel=0.05)
    # the counter goes on through lost frames and begins anew with every stream
    begun = sum(b.counter <= a.counter for a, b in itertools.pairwise(frames))
    backs = sum(h.kind == "back" for h in camera.happenings)
    assert 1 <= begun <= backs - 1 <= losses


def test_impossible_numbers_are_named() -> None:
    with pytest.raises(ConfigurationError, match="--sets"):
        sync.run(arguments("--sets", "0"))
    with pytest.raises(ConfigurationError, match="--cameras"):
        sync.run(arguments("--cameras", "0"))
