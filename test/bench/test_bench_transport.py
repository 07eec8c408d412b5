"""`s3k bench transport`: what it counts as complete, and a run of both processes."""

from __future__ import annotations

import argparse
import types

import pytest

from s3k_ros.bench import transport
from s3k_ros.errors import ConfigurationError, DataError

JOB = types.SimpleNamespace(cameras=4, sets=4, rate_hz=30.0, seconds=1.0)


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    transport.add_arguments(parser)
    return parser.parse_args(words)


def test_a_set_counts_when_all_its_images_came_and_unsent_ones_are_lost() -> None:
    counts = transport.Counts()
    sent = {"stamps": [100, 200, 300], "processor_s": 0.03}
    received = {
        # of a set before the first that counts, of two whole ones, of one that lacks an image
        "sets": {"50": [4, 60], "100": [4, 2_000_100], "200": [3, 210], "300": [4, 4_000_300]},
        "processor_s": 0.06,
    }
    counts.add(JOB, sent, received)
    assert (counts.asked, counts.sent, counts.complete) == (4, 3, 2)
    assert counts.percent == 50.0
    figures = counts.figures()
    assert figures["complete_percent_of_sent"] == pytest.approx(200.0 / 3.0)
    assert figures["latency_ms_median"] == pytest.approx(3.0)
    assert figures["publisher_ms_a_set"] == pytest.approx(10.0)


@pytest.mark.ros
def test_small_sets_reach_the_other_process_on_both_profiles() -> None:
    words = ("--seconds", "1", "--rounds", "1", "--width", "64", "--height", "48", "--rate", "10")
    figures = transport.run(arguments(*words)).figures
    for profile in ("shipped", "default"):
        assert figures[profile]["sets_asked"] == 10
        assert figures[profile]["sets_complete"] >= 5


def test_impossible_numbers_are_named() -> None:
    with pytest.raises(ConfigurationError, match="--rounds"):
        transport.run(arguments("--rounds", "0"))
    with pytest.raises(ConfigurationError, match="--width"):
        transport.run(arguments("--width", "0"))


def test_a_process_that_fails_is_told_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    process = types.SimpleNamespace(communicate=lambda timeout: ("", "no such domain\n"))
    with pytest.raises(DataError, match="publisher failed: no such domain"):
        transport._answer(process, "publisher", 1.0)  # type: ignore[arg-type]
