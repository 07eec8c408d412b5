"""Which provider a model runs on, and how it says so."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from support.synthetic_model import paint, write_model

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.perception.session import CPU

PIXELS = [(300.0, 240.0), (350.0, 200.0), (360.0, 270.0), (270.0, 290.0), (255.0, 200.0)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_model(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def load(path: Path, provider: str) -> KeypointDetector:
    return KeypointDetector.load(str(path), DetectorParameters(provider=provider))


def assert_works(detector: KeypointDetector) -> None:
    [found] = detector.detect([paint(640, 480, PIXELS)])
    assert found is not None
    assert np.abs(found.pixels - PIXELS).max() < 1.0


def test_cpu_is_no_fallback(path: Path) -> None:
    model = load(path, CPU).model
    assert (model.provider, model.fallback) == (CPU, "")


def test_provider_that_this_build_lacks_gives_way_to_the_cpu_and_says_so(path: Path) -> None:
    assert "CoreMLExecutionProvider" not in onnxruntime.get_available_providers()
    detector = load(path, "CoreMLExecutionProvider")
    assert detector.model.provider == CPU
    assert "CoreMLExecutionProvider is not in this ONNX Runtime" in detector.model.fallback
    assert_works(detector)


def test_provider_that_does_not_start_gives_way_to_the_cpu_and_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with CUDA of the wrong version: the build has it, and the session goes without it."""
    both = ["CoreMLExecutionProvider", CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ONNX Runtime's own, which nobody would see
        detector = load(path, "CoreMLExecutionProvider")
    assert detector.model.provider == CPU
    assert "CoreMLExecutionProvider does not start" in detector.model.fallback
    assert_works(detector)


def test_provider_that_raises_gives_way_to_the_cpu_and_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = onnxruntime.InferenceSession

    def session(graph: bytes, options: object, providers: list[str]) -> object:
        if providers[0] != CPU:
            raise RuntimeError("no device of this kind")
        return real(graph, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    detector = load(path, "CUDAExecutionProvider")
    assert detector.model.provider == CPU
    assert "no device of this kind" in detector.model.fallback
    assert_works(detector)


def test_misspelt_provider_is_refused(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no provider 'CUDA'; available here: .*CPU"):
        load(path, "CUDA")
