"""`s3k bench recording` on tiny images: the figures are there, and what was sent is in the file."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from s3k_ros.bench import recording
from s3k_ros.errors import ConfigurationError


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    recording.add_arguments(parser)
    return parser.parse_args(list(words))


@pytest.mark.ros
def test_bench_records_reads_and_compares(tmp_path: Path) -> None:
    size = ["--width", "64", "--height", "48", "--cameras", "2"]
    result = recording.run(
        arguments("--seconds", "1", "--rate", "10", *size, "--folder", str(tmp_path))
    )
    by_name = {target.name: target for target in result.targets}
    assert by_name["images that differ"].measured == 0
    assert 0 < result.figures["sets_recorded_complete"] <= 10
    assert result.figures["recorder_processor_ms_a_set"] > 0
    assert not list(tmp_path.iterdir())


def test_bench_refuses_numbers_out_of_range() -> None:
    with pytest.raises(ConfigurationError, match="must be positive"):
        recording.run(arguments("--cameras", "0"))
