"""Which provider a model runs on, and how it says so."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from support.synthetic_model import paint, write_model

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.perception.model_file import KeypointModel
from s3k_ros.perception.parity import LIMIT_PX, ParityCheck, distances
from s3k_ros.perception.session import CPU, CUDA, TENSORRT, in_half, provider_options

PIXELS = [(300.0, 240.0), (350.0, 200.0), (360.0, 270.0), (270.0, 290.0), (255.0, 200.0)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_model(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def load(path: Path, provider: str, **options: Any) -> KeypointDetector:
    return KeypointDetector.load(str(path), DetectorParameters(provider=provider, **options))


class FakeGpu:
    """Sessions that say they run on a GPU; they compute on the CPU, and fail where they shall.

    Attributes:
        chains, graphs: providers with options, and the graph, of each session that was opened.
        batches: the number of views in each run on the "GPU".
        shift: added to the logits of the cells right of a map's middle.
    """

    def __init__(self, fails: str) -> None:
        self.fails = fails
        self.shift = 0.0
        self.chains: list[list[tuple[str, dict[str, str]]]] = []
        self.graphs: list[bytes] = []
        self.batches: list[int] = []
        self._real = onnxruntime.InferenceSession

    def session(self, graph: bytes, options: object, providers: list[Any]) -> Any:
        self.chains.append(providers)
        self.graphs.append(graph)
        name = providers[0][0]
        if name == CPU:
            return self._real(graph, options, providers=[CPU])
        if self.fails in ("start", f"start {name}"):
            raise RuntimeError("no device of this kind")
        return FakeGpuSession(self, name, self._real(graph, options, providers=[CPU]))


class FakeGpuSession:
    def __init__(self, gpu: FakeGpu, name: str, real: Any) -> None:
        self._gpu, self._name, self._real = gpu, name, real

    def get_providers(self) -> list[str]:
        return [self._name, CPU]

    def run(self, outputs: list[str], feed: dict[str, Any]) -> list[Any]:
        if self._gpu.fails == "run":
            raise RuntimeError("CUDA error 719: unspecified launch failure")
        self._gpu.batches.append(len(next(iter(feed.values()))))
        logits = self._real.run(outputs, feed)[0]
        logits[..., logits.shape[-1] // 2 :] += self._gpu.shift
        return [logits]


def on_fake_gpu(monkeypatch: pytest.MonkeyPatch, *providers: str, fails: str = "") -> FakeGpu:
    gpu = FakeGpu(fails)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*providers, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", gpu.session)
    return gpu


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
    on_fake_gpu(monkeypatch, CUDA, fails="start")
    detector = load(path, CUDA)
    assert detector.model.provider == CPU
    assert "no device of this kind" in detector.model.fallback
    assert detector.model.reference is None
    assert_works(detector)


def test_misspelt_provider_is_refused(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no provider 'CUDA'; available here: .*CPU"):
        load(path, "CUDA")


def test_gpu_gets_all_views_at_once_and_the_cpu_stands_by(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = on_fake_gpu(monkeypatch, CUDA)
    detector = load(path, CUDA)
    assert (detector.model.provider, detector.model.fallback) == (CUDA, "")
    assert detector.model.reference is not None
    gpu.batches.clear()
    detector.detect([paint(640, 480, PIXELS)] * 4)
    assert gpu.batches == [4, 4]  # coarse and crop
    assert dict(gpu.chains[0])[CUDA]["device_id"] == "0"


def test_failure_while_it_runs_goes_over_to_the_cpu_without_losing_the_set(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = on_fake_gpu(monkeypatch, CUDA)
    detector = load(path, CUDA)
    detector.model.name = "swapped@1"
    assert_works(detector)
    gpu.fails = "run"
    assert_works(detector)
    assert (detector.model.provider, detector.model.name) == (CPU, "swapped@1")
    assert "CUDAExecutionProvider failed: CUDA error 719" in detector.model.fallback
    assert_works(detector)


def test_provider_whose_first_run_fails_gives_way_to_the_cpu(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_fake_gpu(monkeypatch, CUDA, fails="run")
    detector = load(path, CUDA)
    assert detector.model.provider == CPU
    assert "CUDA error 719" in detector.model.fallback
    assert_works(detector)


def test_tensorrt_gives_way_to_cuda_and_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_fake_gpu(monkeypatch, TENSORRT, CUDA, fails=f"start {TENSORRT}")
    model = load(path, TENSORRT, engine_cache=str(tmp_path)).model
    assert model.provider == CUDA
    assert model.fallback == (
        f"{TENSORRT} does not start: ONNX Runtime refuses the network: no device of this kind"
    )


def test_provider_that_finds_something_else_than_the_cpu_is_given_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = on_fake_gpu(monkeypatch, CUDA)
    detector = load(path, CUDA, precision="fp16")
    assert detector.model.precision == "fp16"
    gpu.shift = 3.0
    detector.detect([paint(640, 480, [])])  # nothing to be sure of: not judged yet
    assert detector.model.provider == CUDA
    assert_works(detector)  # with the CPU's keypoints
    assert detector.model.provider == CPU
    assert "fp16: a keypoint is" in detector.model.fallback


def test_only_the_first_sets_that_show_something_are_compared(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = on_fake_gpu(monkeypatch, CUDA)
    detector = load(path, CUDA)
    for _ in range(6):
        assert_works(detector)
    gpu.shift = 3.0
    detector.detect([paint(640, 480, PIXELS)])
    assert detector.model.provider == CUDA


def test_parity_counts_keypoints_that_both_are_sure_of(path: Path) -> None:
    [found] = load(path, CPU).detect([paint(640, 480, [*PIXELS[:4], None])])
    assert found is not None
    moved = dataclasses.replace(found, pixels=found.pixels + np.array([0.06, 0.08]))
    assert np.allclose(distances([moved], [found]), [0.1] * 4)
    check = ParityCheck()
    check.compare([found], [found])
    assert not check.fault
    check.compare([dataclasses.replace(found, pixels=found.pixels + 2 * LIMIT_PX)], [found])
    assert "0.28 px" in check.fault


def test_engines_are_cached_by_model_and_stage(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """TensorRT names engines by the graph's structure: two trainings must not share one."""
    gpu = on_fake_gpu(monkeypatch, TENSORRT, CUDA)
    model = load(path, TENSORRT, precision="fp16", engine_cache=str(tmp_path / "e")).model
    options = [dict(chain)[TENSORRT] for chain in gpu.chains[:2]]
    folders = [Path(o["trt_engine_cache_path"]) for o in options]
    assert [f.name for f in folders] == [f"{model.sha256[:16]}_{s}" for s in ("coarse", "crop")]
    assert all(f.is_dir() and f.parent == tmp_path / "e" for f in folders)
    assert options[0]["trt_profile_max_shapes"] == "coarse_image:16x3x120x160"
    assert [o["trt_fp16_enable"] for o in options] == ["False", "True"]
    assert [provider for provider, _ in gpu.chains[0]] == [TENSORRT, CUDA, CPU]


def test_options_reach_their_provider_and_wrong_ones_are_refused() -> None:
    params = DetectorParameters(provider=CUDA, provider_options=("gpu_mem_limit=1000",))
    assert provider_options(params, {}, "")[CUDA]["gpu_mem_limit"] == "1000"
    with pytest.raises(ConfigurationError, match="'fast' is not key=value"):
        provider_options(DetectorParameters(provider=CUDA, provider_options=("fast",)), {}, "")
    with pytest.raises(ConfigurationError, match="CPUExecutionProvider has none"):
        provider_options(DetectorParameters(provider_options=("a=b",)), {}, "")
    with pytest.raises(ConfigurationError, match="fp16 needs"):
        provider_options(DetectorParameters(precision="fp16"), {}, "")


@pytest.mark.parametrize("crop", [True, False])
def test_fp16_is_for_the_stage_that_gives_the_positions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, crop: bool
) -> None:
    write_model(tmp_path / "model.onnx", crop=crop)
    gpu = on_fake_gpu(monkeypatch, CUDA)
    load(tmp_path / "model.onnx", CUDA, precision="fp16")
    kinds = [
        {t.data_type for t in onnx.load_from_string(graph).graph.initializer}
        for graph, (provider, *_) in zip(gpu.graphs, gpu.chains, strict=True)
        if provider[0] == CUDA
    ]
    half, full = {onnx.TensorProto.FLOAT16}, {onnx.TensorProto.FLOAT}
    assert kinds == ([full, half] if crop else [half])


@pytest.mark.parametrize("model", ["plush_fox", "box"])
def test_crops_in_fp16_give_nearly_the_same_maps(model: str, tmp_path: Path) -> None:
    """On the CPU, which rounds to fp16 between layers: a GPU's arithmetic is not tested here."""
    source = Path(__file__).parents[2] / "models" / f"{model}.onnx"
    onnx.save(in_half(onnx.load(str(source))), str(tmp_path / "half.onnx"))
    full, half = (KeypointModel.load(file) for file in (source, tmp_path / "half.onnx"))
    assert full.crop is not None and half.crop is not None and full.description.crop is not None
    rng = np.random.default_rng(0)
    size = full.description.crop.input_size
    image = cv2.resize(rng.uniform(0.0, 255.0, (12, 12, 3)).astype(np.float32), size[::-1])
    batch = np.ascontiguousarray(image.transpose(2, 0, 1)[np.newaxis])
    expected, found = full.crop(batch), half.crop(batch)
    # A mean over cells moves by the error of the logits times their spread, 1.5 cells of 3 px here.
    assert np.abs(found - expected).max() < 0.02 * np.ptp(expected)
    assert not np.array_equal(found, expected)
