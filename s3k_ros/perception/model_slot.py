"""The detector in use, and how another model takes its place while it runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.perception.detector import KeypointDetector

Load = Callable[[Path], KeypointDetector]

# The first images of a session cost more than all later ones: memory, kernels, engines.
_WARM_UP_SIZE = (480, 640)


class ModelSlot:
    """Holds the detector that is in use.

    Whoever works on a set takes `current` once, at its start; so a change takes place between two
    sets, and no set is lost or worked on by two models.

    Args:
        load: makes a detector from a file.
        path: the first model's file.
        views: how many views a set has, for the warm-up.

    Raises:
        ConfigurationError: as ``load``.
    """

    def __init__(self, load: Load, path: Path, views: int) -> None:
        self._load = load
        self._views = views
        self._current = self.prepare(path)

    @classmethod
    def open(
        cls, path: Path, params: DetectorParameters, keypoints: Sequence[str], views: int
    ) -> Self:
        """A slot with a model; ``keypoints`` are those that every model must have, if any.

        Raises:
            ConfigurationError: as `KeypointDetector.load`.
        """
        return cls(lambda file: KeypointDetector.load(str(file), params, keypoints), path, views)

    @property
    def current(self) -> KeypointDetector:
        """The detector for the next set."""
        return self._current

    def prepare(self, path: Path) -> KeypointDetector:
        """Loads a model and warms it up, in the caller's thread; the one in use goes on.

        Raises:
            ConfigurationError: the file is no good.
        """
        detector = self._load(path)
        warm_up(detector, self._views)
        return detector

    def use(self, detector: KeypointDetector) -> None:
        """Puts a prepared detector in place, from the next set on."""
        self._current = detector


def warm_up(detector: KeypointDetector, views: int) -> None:
    """Runs black images through, in every number of views that a set may have, all of them last.

    The model that stands by on the CPU is warmed up too: it may have to take over within a set.
    """
    black = np.zeros((*_WARM_UP_SIZE, 3), np.uint8)
    reference = detector.model.reference
    for used in ([KeypointDetector(reference)] if reference else []) + [detector]:
        for count in range(1, views + 1):
            used.detect([black] * count)


def swapped_name(path: Path) -> str:
    """What a model is called that was loaded while the node ran: the file's name and its hash.

    So two files of one name are told apart, and a detector and a triangulator on two machines come
    to the same name by themselves.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigurationError(f"model file {path}: {error.strerror or error}") from None
    return f"{path.stem}@{digest[:8]}"
