"""Inference sessions of ONNX Runtime on the provider that was asked for, or openly on the CPU."""

from __future__ import annotations

import dataclasses

import onnxruntime

from s3k_ros.errors import ConfigurationError

CPU = "CPUExecutionProvider"


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


def open_session(graph: bytes, threads: int, provider: str) -> Session:
    """Opens a session for a serialised graph.

    A provider that this build of ONNX Runtime lacks, or that does not start on this machine, gives
    way to the CPU: `Session.fallback` says why, for whoever must know.

    Raises:
        ConfigurationError: no provider has such a name, or the CPU too refuses the network.
    """
    available = onnxruntime.get_available_providers()
    if provider not in onnxruntime.get_all_providers():
        raise ConfigurationError(
            f"ONNX Runtime knows no provider {provider!r}; available here: {', '.join(available)}"
        )
    if provider == CPU:
        return Session(_open(graph, threads, [CPU]), CPU)
    if provider not in available:
        text = f"{provider} is not in this ONNX Runtime, which has {', '.join(available)}"
        return Session(_open(graph, threads, [CPU]), CPU, text)
    try:
        session = _open(graph, threads, [provider, CPU])
    except ConfigurationError as error:
        return Session(_open(graph, threads, [CPU]), CPU, f"{provider} does not start: {error}")
    # ONNX Runtime itself goes over to the CPU, with no more than a line on stderr.
    if session.get_providers()[0] != provider:
        return Session(session, CPU, f"{provider} does not start on this machine")
    return Session(session, provider)


def _open(graph: bytes, threads: int, providers: list[str]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads must not spin: the cores belong to the other nodes between two frame sets.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=providers)
    except Exception as error:  # ONNX Runtime raises a dozen unrelated classes here
        raise ConfigurationError(f"ONNX Runtime refuses the network: {error}") from None
