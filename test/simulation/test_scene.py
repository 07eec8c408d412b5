"""Seeded scenes: reproducible, settled on the table; families share nothing but the fox."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from s3k_ros.errors import ConfigurationError
from s3k_ros.simulation import cell, scene, toys
from s3k_ros.simulation.cell import CellModel

pytestmark = pytest.mark.sim


@pytest.fixture(scope="module")
def laid() -> tuple[scene.ToyScene, CellModel]:
    toy_scene = scene.ToyScene(cell.TABLE_HEIGHT_M, "dev")
    return toy_scene, cell.build_cell([toy_scene])


def _positions(model: mujoco.MjModel, data: mujoco.MjData, family: str) -> np.ndarray:
    mujoco.mj_kinematics(model, data)
    return np.array([data.body(toy.name).xpos for toy in toys.TOYS if toy.family == family])


def test_same_seed_gives_the_same_scene(laid: tuple[scene.ToyScene, CellModel]) -> None:
    toy_scene, built = laid
    states, looks = [], []
    for seed in (7, 8, 7):
        data = built.make_data()
        toy_scene.randomise(built.model, data, seed)
        states.append(data.qpos.copy())
        looks.append(built.model.tex_data.copy())
    np.testing.assert_array_equal(states[0], states[2])
    np.testing.assert_array_equal(looks[0], looks[2])
    assert np.abs(states[0] - states[1]).max() > 0.01
    assert (looks[0] != looks[1]).any()


def test_fox_settles_on_the_table(laid: tuple[scene.ToyScene, CellModel]) -> None:
    toy_scene, built = laid
    for seed in range(3):
        data = built.make_data()
        toy_scene.randomise(built.model, data, seed)
        mujoco.mj_step(built.model, data, int(scene.SETTLE_S / built.model.opt.timestep))
        keypoints = toy_scene.keypoints(data)
        above = keypoints[:, 2] - cell.TABLE_HEIGHT_M
        assert (above > 0.0).all() and (above < 0.12).all()


def test_only_the_familys_toys_are_on_the_table(laid: tuple[scene.ToyScene, CellModel]) -> None:
    toy_scene, built = laid
    data = built.make_data()
    toy_scene.arrange(built.model, data, 3)
    for family in ("train", "test"):
        assert (_positions(built.model, data, family)[:, 0] < -3.0).all()
    assert (_positions(built.model, data, "dev")[:, 0] > 0.3).any()


def test_families_share_no_toy_and_no_hue() -> None:
    kinds = [{toy.name for toy in toys.TOYS if toy.family == family} for family in toys.FAMILIES]
    assert all(kinds) and not (kinds[0] & kinds[1] | kinds[0] & kinds[2] | kinds[1] & kinds[2])


def test_unknown_family_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"train.*dev.*test"):
        scene.ToyScene(0.0, "holiday")
