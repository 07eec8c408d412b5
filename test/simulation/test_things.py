"""Box, boot and bin in the simulated cell: at rest where they stand, seen where they are."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from s3k_ros.errors import ConfigurationError
from s3k_ros.simulation import cell, scene, things
from s3k_ros.simulation.cell import CellModel

pytestmark = pytest.mark.sim

ALL = ("box", "boot", "bin")


@pytest.fixture(scope="module")
def laid() -> tuple[scene.ToyScene, CellModel]:
    toy_scene = scene.ToyScene(cell.TABLE_HEIGHT_M, "dev", ALL)
    return toy_scene, cell.build_cell([toy_scene])


def settled(laid: tuple[scene.ToyScene, CellModel], seed: int) -> mujoco.MjData:
    toy_scene, built = laid
    data = built.make_data()
    toy_scene.randomise(built.model, data, seed)
    mujoco.mj_step(built.model, data, int(scene.SETTLE_S / built.model.opt.timestep))
    return data


@pytest.mark.parametrize("seed", [3, 4])
def test_things_stand_where_they_were_put(laid: tuple[scene.ToyScene, CellModel], seed) -> None:
    toy_scene, built = laid
    before = built.make_data()
    toy_scene.arrange(built.model, before, seed)
    mujoco.mj_kinematics(built.model, before)
    after = settled(laid, seed)
    for object_id in ("box", "toy_boot"):
        moved = toy_scene.keypoints_of(after, object_id) - toy_scene.keypoints_of(before, object_id)
        assert np.abs(moved).max() < 0.003
    names = [thing.name for thing in things.things().values()]
    assert all(np.abs(after.joint(name).qvel).max() < 0.05 for name in names)


def test_true_keypoints_are_those_of_the_mesh_that_is_seen(
    laid: tuple[scene.ToyScene, CellModel],
) -> None:
    toy_scene, built = laid
    data = settled(laid, 5)
    for thing in things.things().values():
        points = dict(zip(thing.names, toy_scene.keypoints_of(data, thing.mesh.name), strict=True))
        geom = data.geom(thing.name)
        mesh = int(built.model.geom(thing.name).dataid[0])
        first, count = built.model.mesh_vertadr[mesh], built.model.mesh_vertnum[mesh]
        vertices = built.model.mesh_vert[first : first + count]
        seen = vertices @ geom.xmat.reshape(3, 3).T + geom.xpos
        for name, point in points.items():
            assert np.linalg.norm(seen - point, axis=1).min() < 0.004, name


def test_box_stands_on_the_table_with_two_corners_up(
    laid: tuple[scene.ToyScene, CellModel],
) -> None:
    toy_scene, _ = laid
    corners = dict(zip(toy_scene.names, toy_scene.keypoints(settled(laid, 6)), strict=True))
    height = things.things()["box"].mesh.size[2]
    for name, above in (("corner_a", height), ("corner_b", height), ("corner_c", 0.0)):
        assert corners[name][2] - cell.TABLE_HEIGHT_M == pytest.approx(above, abs=0.003)


def test_nothing_stands_in_the_bin_and_the_bin_in_nothing(
    laid: tuple[scene.ToyScene, CellModel],
) -> None:
    for seed in range(6):
        toy_scene, built = laid
        data = built.make_data()
        toy_scene.arrange(built.model, data, seed)
        mujoco.mj_forward(built.model, data)
        bodies = {built.model.body(int(b)).name for g in data.contact.geom for b in
                  built.model.geom_bodyid[g[g >= 0]]}  # fmt: skip
        assert "bin" not in bodies


def test_what_is_not_present_is_out_of_sight(laid: tuple[scene.ToyScene, CellModel]) -> None:
    toy_scene, built = laid
    toy_scene.present = ("box",)
    data = built.make_data()
    toy_scene.arrange(built.model, data, 3)
    mujoco.mj_kinematics(built.model, data)
    toy_scene.present = toy_scene.objects
    assert toy_scene.keypoints_of(data, "toy_boot")[:, 0].max() < -10.0
    assert 0.3 < toy_scene.keypoints_of(data, "box")[:, 0].mean() < 0.9


@pytest.mark.parametrize("objects", [("teapot",), ("bin",), ("box", "box"), ()])
def test_scenes_that_cannot_be_are_refused(objects) -> None:
    with pytest.raises(ConfigurationError, match="fox, box, boot, bin"):
        scene.ToyScene(0.0, "test", objects)
