"""The fox as a MuJoCo model: XML of its flex and skin, and its handle in a compiled model."""

from __future__ import annotations

import io

import mujoco
import numpy as np
from dm_control import mjcf
from numpy.typing import NDArray
from PIL import Image

from s3k_ros.simulation import fox

Array = NDArray[np.float64]

NAME = "fox"
# Contact bits. The fox meets the table as a plane: a flex's tetrahedra against a box's face give
# hundreds of contacts and fall through; against a plane its vertices count, which is stable.
ARM_BIT, GROUND_BIT, TOY_BIT = 2, 4, 8
TEXTURE = "fox_fur"
ATLAS_PX = (128, 80)
_CORE = (0.8, 0.8, 0.95)
"""Half sizes of a firm part's collider over the radii of its look."""
# Per-node viscous drag, N s/m: the fluff's own damping; a node weighs about a gram.
NODE_DAMPING = 0.004


def add_fox(root: mjcf.RootElement) -> None:
    """Adds the fox to an MJCF tree: flex under worldbody, skin under deformable, its texture."""
    fur = mjcf.Asset(_png(fur_atlas(np.random.default_rng(0))), ".png")
    root.asset.add("texture", name=TEXTURE, type="2d", file=fur)
    root.asset.add("material", name="fox_fur", texture=TEXTURE, specular=0.0, shininess=0.0)
    root.asset.add("material", name="fox_stuffing", rgba=(1, 0, 0, 0))
    _add_flex(root)
    _add_skin(root)


def firm_paws(spec: mujoco.MjSpec) -> None:
    """Makes each firm part one rigid body that carries its lattice nodes.

    The elastic lattice alone gives way until the jaws meet, where real stuffing packs and pushes
    back; so the front paws are filled like bean bags, as many plush toys' are.

    The nodes' bodies exist only once MuJoCo has expanded the flex, so this works on the parsed
    model, before it is compiled. The leg's tetrahedra pull at the paw through the shared nodes.
    """
    nodes = fox.lattice().nodes
    mass = fox.MASS_KG / len(nodes)
    parts = {part.name: part for part in fox.PARTS}
    for name, mine in _firm_nodes().items():
        part = parts[name]
        core = spec.worldbody.add_body(name=_core(name), pos=part.centre)
        core.add_freejoint(name=_core(name))
        core.add_geom(
            # A box, for beans settle flat against the jaws; an ellipsoid would touch them in two
            # points and squeeze out.
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=np.array(part.radii) * _CORE,
            quat=[np.cos(part.yaw_rad / 2), 0.0, 0.0, np.sin(part.yaw_rad / 2)],
            mass=mass * len(mine),
            group=3,
            condim=4,
            friction=[1.5, 0.03, 0.0001],
            solref=[0.02, 1.0],
            solimp=[0.9, 0.95, 0.003, 0.5, 2.0],
            contype=0,
            conaffinity=ARM_BIT | GROUND_BIT | TOY_BIT,
        )
        for node in mine:
            spec.detach_body(spec.body(f"{NAME}_{node}"))
            core.add_body(name=f"{NAME}_{node}", pos=nodes[node] - part.centre)


def _firm_nodes() -> dict[str, NDArray[np.intp]]:
    """Lattice nodes of each firm part."""
    nodes = fox.lattice().nodes
    return {
        part.name: np.flatnonzero(np.linalg.norm(part.local(nodes), axis=-1) < 1.25)
        for part in fox.PARTS
        if part.firm
    }


def _core(part: str) -> str:
    return f"{NAME}_{part}"


class PlushFox:
    """The fox inside a compiled model.

    Raises:
        KeyError: the model holds no fox.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._lattice = fox.lattice()
        self._flex = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_FLEX, NAME)
        if self._flex < 0:
            raise KeyError(f"the model holds no flex named {NAME!r}")
        names = [f"{NAME}_{i}" for i in range(len(self._lattice.nodes))]
        self._bodies = np.array([model.body(name).id for name in names])
        self._soft = np.flatnonzero(model.body_dofnum[self._bodies] == 3)
        soft = self._bodies[self._soft]
        self._qpos = model.jnt_qposadr[model.body_jntadr[soft]]
        self._dofs = model.body_dofadr[soft]
        for axis in range(3):
            model.dof_damping[self._dofs + axis] = NODE_DAMPING
        self._home = model.body_pos[soft].copy()
        start = model.flex_edgeadr[self._flex]
        self._edges = slice(start, start + model.flex_edgenum[self._flex])
        self._pairs = model.flex_edge[self._edges].copy()
        self._texture = model.texture(TEXTURE).id
        self._key_nodes, self._key_weights = self._lattice.embed(fox.keypoint_positions())

    def arrange(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        turns: dict[str, tuple[float, float]],
        rotation: Array,
        position: Array,
    ) -> None:
        """Gives the toy a new rest shape and lays it at a pose, at rest.

        Args:
            model: the cell's model, changed in place.
            data: its state, changed in place.
            turns: limb name -> (yaw, pitch), rad.
            rotation: (3, 3) world_from_fox.
            position: (3,) m, world; the lowest node lies at its height.
        """
        shape, cores = self._firm(fox.posed(turns))
        lengths = np.linalg.norm(shape[self._pairs[:, 0]] - shape[self._pairs[:, 1]], axis=1)
        model.flexedge_length0[self._edges] = lengths
        world = shape @ rotation.T
        shift = np.asarray(position) - [0.0, 0.0, world[:, 2].min()]
        world += shift
        for axis in range(3):
            data.qpos[self._qpos + axis] = world[self._soft, axis] - self._home[:, axis]
            data.qvel[self._dofs + axis] = 0.0
        for name, (turn, centre) in cores.items():
            joint = data.joint(_core(name))
            joint.qpos[:3] = rotation @ centre + shift
            mujoco.mju_mat2Quat(joint.qpos[3:], (rotation @ turn).ravel())
            joint.qvel[:] = 0.0

    def _firm(self, shape: Array) -> tuple[Array, dict[str, tuple[Array, Array]]]:
        """Moves each firm part's nodes to the rigid fit (Kabsch 1976) of their posed places.

        Returns:
            The shape (N, 3), and each part's turn (3, 3) and centre (3,) in the fox frame.
        """
        shape, cores = shape.copy(), {}
        centres = {part.name: np.array(part.centre) for part in fox.PARTS}
        for name, mine in _firm_nodes().items():
            rest = self._lattice.nodes[mine]
            u, _, vt = np.linalg.svd((rest - rest.mean(0)).T @ (shape[mine] - shape[mine].mean(0)))
            sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
            turn = vt.T @ sign @ u.T
            centre = shape[mine].mean(0) + turn @ (centres[name] - rest.mean(0))
            shape[mine] = (rest - centres[name]) @ turn.T + centre
            cores[name] = (turn, centre)
        return shape, cores

    def nodes(self, data: mujoco.MjData) -> Array:
        """Lattice nodes (N, 3), world, m."""
        return data.xpos[self._bodies].copy()

    def keypoints(self, data: mujoco.MjData) -> Array:
        """Keypoints (K, 3), world, m, in the order of `fox.KEYPOINTS`."""
        return np.einsum("kn,knj->kj", self._key_weights, data.xpos[self._bodies[self._key_nodes]])

    def paint(self, model: mujoco.MjModel, rng: np.random.Generator) -> int:
        """Redraws the fur; returns the texture's id, which a renderer must upload again."""
        pixels = fur_atlas(rng)
        start = model.tex_adr[self._texture]
        model.tex_data[start : start + pixels.size] = pixels.ravel()
        return int(self._texture)


def fur_atlas(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Fur texture (H, W, 3): a column a fur of `fox.FURS`, mottled strands."""
    height, width = ATLAS_PX
    columns = np.repeat(np.arange(len(fox.FURS)), width // len(fox.FURS))
    base = np.array(list(fox.FURS.values()), dtype=float)[columns]
    strands = rng.normal(0, 1, (height, width))
    strands = strands + np.roll(strands, 1, 0) + np.roll(strands, 2, 0)
    pixels = base[None] * (1.0 + 0.07 * strands[..., None])
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels[::-1]).save(buffer, "PNG")
    return buffer.getvalue()


def _words(values: NDArray) -> str:
    """Numbers as MJCF text, for attributes that PyMJCF types as strings."""
    return " ".join(f"{x:.6g}" for x in values.ravel())


def _add_flex(root: mjcf.RootElement) -> None:
    lattice = fox.lattice()
    flex = root.worldbody.add(
        "flexcomp",
        name=NAME,
        type="direct",
        dim=3,
        mass=fox.MASS_KG,
        radius=0.002,
        material="fox_stuffing",
        point=_words(lattice.nodes),
        element=_words(lattice.tets),
    )
    # Explicit elastic damping is unstable at this node mass; the joints' implicit drag settles.
    flex.add("elasticity", young=fox.YOUNG_PA, poisson=fox.POISSON, damping=0.0)
    flex.add("edge", equality="false", damping=0.0)
    flex.add(
        "contact",
        contype=0,
        conaffinity=ARM_BIT | GROUND_BIT | TOY_BIT,
        condim=4,
        friction=(1.2, 0.02, 0.0001),
        solref=(0.01, 1.0),
        solimp=(0.8, 0.95, 0.003, 0.5, 2.0),
        selfcollide="none",
        internal="false",
    )


def _add_skin(root: mjcf.RootElement) -> None:
    surface = fox.skin()
    nodes, weights = fox.lattice().embed(surface.vertices, surface.anchors)
    element = root.deformable.add(
        "skin",
        name=NAME,
        material="fox_fur",
        vertex=surface.vertices.ravel(),
        texcoord=surface.texcoords.ravel(),
        face=surface.faces.ravel(),
    )
    owners = np.repeat(np.arange(len(nodes)), 4)
    for node in np.unique(nodes):
        mine = nodes.ravel() == node
        element.add(
            "bone",
            body=f"{NAME}_{node}",
            bindpos=fox.lattice().nodes[node],
            bindquat=(1, 0, 0, 0),
            vertid=owners[mine],
            vertweight=weights.ravel()[mine],
        )
