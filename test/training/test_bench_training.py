# ruff: noqa: E402
from __future__ import annotations

import argparse

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from s3k_ros.bench import training
from s3k_ros.errors import ConfigurationError

pytestmark = pytest.mark.torch


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    training.add_arguments(parser)
    return parser.parse_args(words)


def test_benchmark_holds_the_plain_step_against_the_supervised_one() -> None:
    words = "--size 32 --steps 1 --rounds 2 --labelled 1 --unlabelled 1 --accelerator cpu"
    result = training.run(arguments(*words.split()))
    assert set(result.figures["step_ms"]) == {"supervised", "s3k", "best"}
    (target,) = result.targets
    assert target.limit == 1.15
    assert target.measured == result.figures["s3k_over_supervised"]


def test_both_kinds_have_the_same_batch_and_every_idea_off() -> None:
    kinds = training.parameters(arguments())
    sizes = {k: p.labelled_samples + p.unlabelled_samples for k, p in kinds.items()}
    assert len(set(sizes.values())) == 1
    for kind in ("supervised", "s3k"):
        params = kinds[kind]
        assert not (params.teacher or params.gate or params.augment or params.photometric)


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="--rounds = 0"):
        training.run(arguments("--rounds", "0"))
