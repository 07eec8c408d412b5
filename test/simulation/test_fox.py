"""The plush fox: a sound lattice, honest keypoints, and a body that deforms."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
from dm_control import mjcf

from s3k_ros.simulation import fox, plush

pytestmark = pytest.mark.sim

STEP_S = 0.00125


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    root = mjcf.RootElement(model="fox_alone")
    root.option.timestep = STEP_S
    root.option.integrator = "implicitfast"
    root.worldbody.add(
        "geom", name="ground", type="plane", size=(1, 1, 0.1), contype=plush.GROUND_BIT
    )
    plush.add_fox(root)
    spec = mujoco.MjSpec.from_string(root.to_xml_string(), assets=root.get_assets())
    plush.firm_paws(spec)
    return spec.compile()


def test_every_tetrahedron_is_well_shaped() -> None:
    lattice = fox.lattice()
    assert fox._smallest_height(lattice.nodes[lattice.tets]) >= fox.MIN_HEIGHT_M


def test_embedding_reproduces_points() -> None:
    lattice = fox.lattice()
    points = fox.skin().vertices
    nodes, weights = lattice.embed(points, fox.skin().anchors)
    rebuilt = np.einsum("pn,pnj->pj", weights, lattice.nodes[nodes])
    np.testing.assert_allclose(rebuilt, points, atol=1e-9)


def test_keypoints_lie_inside_the_stuffing() -> None:
    _, weights = fox.lattice().embed(fox.keypoint_positions())
    assert weights.min() >= -1e-9


def test_turned_limbs_invert_no_tetrahedron() -> None:
    tets = fox.lattice().tets
    for seed in range(30):
        shape = fox.posed(fox.random_turns(np.random.default_rng(seed)))
        assert fox._smallest_height(shape[tets]) > 0.0


def test_fox_lies_where_it_is_arranged(model: mujoco.MjModel) -> None:
    toy, data = plush.PlushFox(model), mujoco.MjData(model)
    rotation = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    toy.arrange(model, data, {}, rotation, np.array([0.3, -0.2, 0.01]))
    mujoco.mj_kinematics(model, data)
    lowest = fox.lattice().nodes[:, 2].min()
    expected = fox.keypoint_positions() @ rotation.T + [0.3, -0.2, 0.01 - lowest]
    np.testing.assert_allclose(toy.keypoints(data), expected, atol=1e-6)


def test_a_turned_limb_stays_turned_at_rest(model: mujoco.MjModel) -> None:
    toy, data = plush.PlushFox(model), mujoco.MjData(model)
    toy.arrange(model, data, {"tail": (0.7, 0.0)}, np.eye(3), np.array([0.0, 0.0, 0.005]))
    mujoco.mj_step(model, data, int(1.0 / STEP_S))
    body, tail = toy.keypoints(data)[[3, 4]]
    swing = np.arctan2(body[1] - tail[1], body[0] - tail[0])
    # The pivot lies 8 cm behind the body, so the line to the tip turns by less than the joint.
    assert 0.2 < swing < 0.7


def test_fox_sags_when_it_hangs_by_a_paw(model: mujoco.MjModel) -> None:
    toy, data = plush.PlushFox(model), mujoco.MjData(model)
    toy.arrange(model, data, {}, np.eye(3), np.array([0.0, 0.0, 0.5]))
    mujoco.mj_forward(model, data)
    paw = data.joint("fox_right_front_paw")
    hung, start = paw.qpos.copy(), toy.keypoints(data)
    for _ in range(int(0.6 / STEP_S)):
        paw.qpos[:], paw.qvel[:] = hung, 0.0
        mujoco.mj_step(model, data)
    drop = start[:, 2] - toy.keypoints(data)[:, 2]
    body, tail = drop[3], drop[4]
    assert body > 0.04, "the leg must bend"
    assert tail > body, "what is farther from the paw hangs lower"
    assert np.linalg.norm(toy.keypoints(data)[3] - toy.keypoints(data)[2]) < 0.35


def test_model_without_fox_is_refused() -> None:
    empty = mujoco.MjModel.from_xml_string("<mujoco/>")
    with pytest.raises(KeyError, match="fox"):
        plush.PlushFox(empty)
