"""Inference sessions of ONNX Runtime on the provider that was asked for, or openly on another."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnxruntime

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.perception import DetectorParameters

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

# What takes the place of a provider that cannot run.
_FALLBACKS = {CPU: (), TENSORRT: (CUDA, CPU)}
# Views that one engine of TensorRT serves: least, best, most. Others make it build a new one.
_PROFILE = {"min": 1, "opt": 4, "max": 16}

Options = Mapping[str, str]


@dataclasses.dataclass(frozen=True, eq=False)
class Session:
    """A session and what it runs on.

    Attributes:
        run: the session.
        provider: execution provider in use.
        fallback: why that is not the one that was asked for; empty when it is.
    """

    run: onnxruntime.InferenceSession
    provider: str
    fallback: str = ""


def open_session(
    graph: onnx.ModelProto, params: DetectorParameters, inputs: Mapping[str, str], name: str
) -> Session:
    """Opens a session.

    A provider that this build of ONNX Runtime lacks, or that does not start on this machine, gives
    way to the next one, at last the CPU in fp32: `Session.fallback` says why, for whoever must
    know.

    Args:
        graph: the network.
        params: provider, precision and their options.
        inputs: shape of an image by the input's name, as "3x120x160".
        name: of the network, unique among all that share a cache of engines.

    Raises:
        ConfigurationError: no provider has such a name, an option cannot be, or the CPU too
            refuses the network.
    """
    available = onnxruntime.get_available_providers()
    if params.provider not in onnxruntime.get_all_providers():
        raise ConfigurationError(
            f"ONNX Runtime knows no provider {params.provider!r}; available here: "
            f"{', '.join(available)}"
        )
    options = provider_options(params, inputs, name)
    wanted = (params.provider, *_FALLBACKS.get(params.provider, (CPU,)))
    usable = [provider for provider in wanted if provider in (*available, CPU)]
    faults = []
    if usable[0] != wanted[0]:
        faults.append(f"{wanted[0]} is not in this ONNX Runtime, which has {', '.join(available)}")
    for i, provider in enumerate(usable):
        chain = [(p, dict(options[p])) for p in usable[i:]]
        try:
            session = _open(_graph(graph, provider, params), params, chain)
        except ConfigurationError as error:
            if provider == CPU:
                raise
            faults.append(f"{provider} does not start: {error}")
            continue
        # ONNX Runtime itself goes over to the next one, with no more than a line on stderr.
        if (found := session.get_providers()[0]) == provider:
            return Session(session, provider, "; ".join(faults))
        faults.append(f"{provider} does not start on this machine")
        if found == CPU:
            break
    return Session(_open(graph, params, [(CPU, {})]), CPU, "; ".join(faults))


def on_cpu(params: DetectorParameters) -> DetectorParameters:
    """The same on the CPU in fp32, which serves everywhere."""
    return dataclasses.replace(params, provider=CPU, precision="fp32", provider_options=())


def provider_options(
    params: DetectorParameters, inputs: Mapping[str, str], name: str
) -> Mapping[str, Options]:
    """Options of ONNX Runtime for the chosen provider and those that may take its place.

    Raises:
        ConfigurationError: an option that is not "key=value", or fp16 where nothing supports it.
    """
    if params.precision == "fp16" and params.provider not in (CUDA, TENSORRT):
        raise ConfigurationError(
            f"precision fp16 needs {TENSORRT} or {CUDA}: {params.provider} computes in fp32"
        )
    options: dict[str, dict[str, str]] = {params.provider: {}, CPU: {}}
    options[CUDA] = {
        "device_id": str(params.device_id),
        # Sizes never change, so the longer search is paid once, while the model is warmed up.
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        # Its 10 bits are no fp32: the crop would move by a pixel here and there.
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",
    }
    if params.provider == TENSORRT:
        folder = engine_cache(params) / name
        options[TENSORRT] = {
            "device_id": str(params.device_id),
            "trt_fp16_enable": str(params.precision == "fp16"),
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": str(folder.parent),
            **{
                f"trt_profile_{kind}_shapes": ",".join(
                    f"{key}:{views}x{shape}" for key, shape in inputs.items()
                )
                for kind, views in _PROFILE.items()
            },
        }
    for text in params.provider_options:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ConfigurationError(f"provider_options: {text!r} is not key=value")
        if params.provider == CPU:
            raise ConfigurationError(f"provider_options: {CPU} has none, found {text!r}")
        options[params.provider][key] = value
    return options


def engine_cache(params: DetectorParameters) -> Path:
    """The folder of TensorRT's engines; building one takes minutes."""
    if params.engine_cache:
        return Path(params.engine_cache).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "s3k_ros" / "engines"


def in_half(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The network in fp16, with inputs and outputs in fp32 as before."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    half: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    return half


def _graph(graph: onnx.ModelProto, provider: str, params: DetectorParameters) -> onnx.ModelProto:
    # TensorRT chooses itself, layer by layer, where fp16 pays.
    return in_half(graph) if params.precision == "fp16" and provider == CUDA else graph


def _open(
    graph: onnx.ModelProto, params: DetectorParameters, providers: list[tuple[str, dict[str, str]]]
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # On the CPU the views of a set are spread over threads (`Workers`), which serves these small
    # networks better than threads within a layer.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    for _, given in providers:
        if folder := given.get("trt_engine_cache_path"):
            # As `use_tf32`, for which TensorRT's provider has no option (onnxruntime #26029).
            os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
            try:
                Path(folder).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(f"engine_cache {folder}: {error.strerror}") from None
    try:
        return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=providers)
    except Exception as error:  # ONNX Runtime raises a dozen unrelated classes here
        raise ConfigurationError(f"ONNX Runtime refuses the network: {error}") from None
