"""One grasp of `s3k bench grasp`: what it is, and how it goes, in whatever process."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from s3k_ros.grasp.codes import GraspCode, Holding
from s3k_ros.grasp.goal import GraspGoal
from s3k_ros.params.perception import DetectorParameters
from s3k_ros.perception.detector import KeypointDetector
from s3k_ros.simulation.grasp_cell import GraspCell, Stage
from s3k_ros.simulation.miscalibration import miscalibrated
from s3k_ros.simulation.shared_files import shared_file
from s3k_ros.simulation.sight import CameraLook

LIFTED_M = 0.10
"""What was to be grasped has risen by this much, and stays so."""
STAYS_S = 1.0
TIME_LIMIT_S = 60.0

MODELS = {"fox": "models/plush_fox.onnx", "box": "models/cell_box.onnx",
          "boot": "models/cell_boot.onnx"}  # fmt: skip
# A corner of the box is grasped across its thin side, the upper corners in turn; the boot below its
# tongue, across the shaft.
GOALS = {
    "fox": (GraspGoal("right_front_paw", "plush_fox", "body"),),
    "box": (GraspGoal("corner_a", "box", "corner_b"), GraspGoal("corner_b", "box", "corner_a")),
    "boot": (GraspGoal("tongue", "toy_boot", "heel", offset=(0.0, 0.0, -0.02)),),
}
NOMINAL = "nominal"
CONDITIONS = (NOMINAL, "calibration_2mm", "calibration_5mm", "camera_dead")
_CALIBRATION_M = {"calibration_2mm": 0.002, "calibration_5mm": 0.005}
# The random streams of a trial.
_SCENE, _FAULT = range(2)


@dataclasses.dataclass(frozen=True)
class Trial:
    """A grasp to be tried.

    Attributes:
        what: fox, box or boot.
        condition: of `CONDITIONS`.
        seed: of the benchmark.
        number: of the scene; the same in all conditions.
    """

    what: str
    condition: str
    seed: int
    number: int

    @property
    def scene_seed(self) -> int:
        """Seed of the scene: of the family "test", which no training saw."""
        return int(self._stream(_SCENE).integers(2**48))

    @property
    def goal(self) -> GraspGoal:
        """What is asked for."""
        goals = GOALS[self.what]
        return goals[self.number % len(goals)]

    def fault_stream(self) -> np.random.Generator:
        """Random numbers for what is wrong with the cameras."""
        return self._stream(_FAULT)

    def _stream(self, which: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, list(GOALS).index(self.what), self.number, which])


@dataclasses.dataclass(frozen=True)
class Tried:
    """How a grasp went.

    Attributes:
        trial: what was tried.
        code, message: the result's.
        lifted: the truth: risen by `LIFTED_M`, and still there after `STAYS_S`.
        said_holding: the result's own verdict.
        rise_m: of the keypoint at the end.
        seconds: simulated, from goal to result.
        off_mm: distance of the keypoint that the plan rests on from the truth; NaN without a plan.
        touches: of the robot with table, cameras or bin, in words.
        looks: sets of images rendered.
        wall_s, cpu_s: what the trial cost.
    """

    trial: Trial
    code: str
    message: str
    lifted: bool
    said_holding: bool
    rise_m: float
    seconds: float
    off_mm: float
    touches: tuple[str, ...]
    looks: int
    wall_s: float
    cpu_s: float

    @property
    def cause(self) -> str:
        """Why it counts as failed: the code, or what contradicts it; empty when it did not."""
        if self.lifted:
            return ""
        return "LOST_AFTER_SUCCESS" if self.code == GraspCode.SUCCESS.name else self.code


_stages: dict[str, Stage] = {}
_detectors: dict[str, KeypointDetector] = {}


def attempt(trial: Trial) -> Tried:
    """Lays out the scene, grasps and judges."""
    began, cpu = time.perf_counter(), time.process_time()
    cell = GraspCell(_stage(trial.what), trial.scene_seed, look=_look(trial))
    cell.show()
    executor = cell.make_executor()
    keypoint, before, start = trial.goal.keypoint, cell.truth(), cell.time
    outcome = executor.start(trial.goal) or cell.run(TIME_LIMIT_S)
    seconds = cell.time - start
    risen = cell.truth()[keypoint][2] - before[keypoint][2]
    cell.wait(STAYS_S)
    stayed = cell.truth()[keypoint][2] - before[keypoint][2]
    return Tried(
        trial=trial,
        code="NO_RESULT" if outcome is None else outcome.code.name,
        message="no result in time" if outcome is None else outcome.message,
        lifted=bool(min(risen, stayed) >= LIFTED_M),
        said_holding=outcome is not None and outcome.holding == Holding.HOLDING,
        rise_m=float(stayed),
        seconds=float(seconds),
        off_mm=_off_mm(cell, before[keypoint]),
        touches=tuple(f"{t.part} on {t.obstacle} at {t.time:.2f} s" for t in cell.touches.found),
        looks=cell.keypoints.looks,
        wall_s=time.perf_counter() - began,
        cpu_s=time.process_time() - cpu,
    )


def _off_mm(cell: GraspCell, truth: np.ndarray) -> float:
    targets = [plan.target for plan in cell.view.shown]
    if not targets or targets[0] is None:
        return float("nan")
    return 1e3 * float(np.linalg.norm(targets[0].position - truth))


def _look(trial: Trial) -> CameraLook:
    stage, rng = _stage(trial.what), trial.fault_stream()
    believed, dead = stage.cameras, []
    if trial.condition in _CALIBRATION_M:
        believed = miscalibrated(stage.cameras, _CALIBRATION_M[trial.condition], rng)
    if trial.condition == "camera_dead":
        dead = [stage.cameras[int(rng.integers(len(stage.cameras)))].name]
    return CameraLook(stage.views, stage.cameras, _detector(trial.what), believed, dead)


def _stage(what: str) -> Stage:
    """Compiling takes seconds: once a process."""
    if what not in _stages:
        _stages[what] = Stage.build((what,))
    return _stages[what]


def _detector(what: str) -> KeypointDetector:
    if what not in _detectors:
        path = str(shared_file(MODELS[what]))
        _detectors[what] = KeypointDetector.load(path, DetectorParameters(threads=1))
    return _detectors[what]


def close() -> None:
    """Frees what this process keeps for its trials."""
    while _stages:
        _stages.popitem()[1].close()
    _detectors.clear()
