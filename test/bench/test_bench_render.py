"""`s3k bench render` measures both loops and compares them; what it finds is not judged here."""

from __future__ import annotations

import argparse

import pytest

from s3k_ros.bench import render
from s3k_ros.errors import ConfigurationError


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    render.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.sim
def test_result_compares_the_medians_of_both_rates() -> None:
    result = render.run(_arguments("--width", "16", "--samples", "3", "--rounds", "2"))
    rates = result.figures["rates_bare_written_and_side_by_side"]
    assert len(rates) == 2 and all(rate > 0 for kinds in rates for rate in kinds)
    bare, ours, _ = (sum(kind) / 2 for kind in zip(*rates, strict=True))
    assert result.targets[0].measured == pytest.approx(ours / bare)
    assert result.targets[0].limit == 0.9


def test_impossible_numbers_are_named() -> None:
    with pytest.raises(ConfigurationError, match="--rounds"):
        render.run(_arguments("--rounds", "0"))
