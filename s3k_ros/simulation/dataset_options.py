"""What the user can ask of `s3k dataset render`, and the scenes that it stands for."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from s3k_ros.errors import ConfigurationError
from s3k_ros.simulation import surroundings
from s3k_ros.simulation.generators import box, shoe
from s3k_ros.simulation.mesh import MeshObject
from s3k_ros.simulation.object_spec import ObjectSceneSpec
from s3k_ros.simulation.random_rig import RandomRig
from s3k_ros.simulation.scene import FOX, OBJECTS
from s3k_ros.simulation.things import BIN

DEFAULT_SHOES = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k dataset render`."""
    parser.add_argument("--out", type=Path, required=True, help="new folder of the dataset")
    parser.add_argument(
        "--family", choices=surroundings.FAMILIES, default="train", help="of scenes"
    )
    parser.add_argument("--labelled", type=int, default=0, help="samples with clicks, first ones")
    parser.add_argument("--unlabelled", type=int, default=0, help="samples without clicks")
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, default=0, help="scene seeds count up from here")
    seeds.add_argument(
        "--seed-from", type=Path, metavar="FILE", help="derive the seed from a file's hash: scenes"
        " that nobody could have tuned that model on",
    )  # fmt: skip
    parser.add_argument(
        "--width", type=int,
        help="image width, px (in the cell: 640, height 3/4 of it; objects: 128)",
    )  # fmt: skip
    parser.add_argument("--image-format", choices=("jpg", "png"), default="jpg")
    parser.add_argument(
        "--processes", type=int, metavar="N", help="that render, 0.8 GB each (default: one a core"
        " for a large dataset)",
    )  # fmt: skip
    fox = parser.add_argument_group("an object in the simulated cell, without --object")
    fox.add_argument(
        "--in-cell", choices=[name for name in OBJECTS if name != BIN], default=FOX,
        help="whose keypoints are shown",
    )  # fmt: skip
    fox.add_argument(
        "--beside", nargs="+", choices=OBJECTS, default=[], help="other objects, each in half of"
        " the scenes",
    )  # fmt: skip
    fox.add_argument(
        "--timesteps", type=int, default=1, metavar="N", help="samples an arrangement, the arm"
        " elsewhere in each, the first one clicked; the counts are then of arrangements",
    )  # fmt: skip
    _add_object_arguments(parser.add_argument_group("any object on a table"))


def _add_object_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--object", action="append", metavar="WHAT", help="a mesh (OBJ, PLY, GLB; z up), box,"
        f" shoe:SEED, shoes:COUNT or shoes ({DEFAULT_SHOES}); again for more objects",
    )  # fmt: skip
    group.add_argument(
        "--keypoints", action="append", type=Path, metavar="FILE", help="YAML, name: [x, y, z] in"
        " the mesh's frame; one for each mesh, in order",
    )  # fmt: skip
    group.add_argument("--scale", type=float, default=1.0, help="metres per unit of the meshes")
    group.add_argument(
        "--object-family", choices=("train", "test"), help="of shoes (default: that of the scenes)"
    )
    group.add_argument(
        "--together", action="store_true", help="every scene shows all objects, not one of them"
    )
    group.add_argument("--label-every", type=int, metavar="N", help="label each Nth sample")
    group.add_argument("--height", type=int, help="image height, px (as the width)")
    group.add_argument("--cameras", choices=("random", "fixed"), default="random")
    group.add_argument("--camera-seed", type=int, default=0, help="of fixed cameras")
    group.add_argument("--camera-count", type=int, default=4)
    group.add_argument(
        "--pixel-mm", type=float, default=2.8, help="size in the workspace's middle of a pixel of"
        " an image 128 px wide; wider images show the same view more finely",
    )  # fmt: skip
    group.add_argument("--distractors", type=int, default=ObjectSceneSpec.distractors)
    group.add_argument(
        "--distractor-family", help="train, dev, test, epoch0, epoch1 ... (default: --family)"
    )
    group.add_argument(
        "--distractor-mesh", action="append", type=Path, metavar="FILE", help="shown instead of"
        " generated distractors; again for more",
    )  # fmt: skip
    group.add_argument("--tilt-deg", type=float, default=20.0, help="greatest pitch and roll")
    group.add_argument(
        "--reach", type=float, nargs=2, metavar=("X", "Y"), default=ObjectSceneSpec.reach_m,
        help="how far off the middle an object may be, m",
    )  # fmt: skip


def check(args: argparse.Namespace) -> None:
    """Refuses options that do not go together.

    Raises:
        ConfigurationError: naming the option.
    """
    if args.processes is not None and not 1 <= args.processes <= 256:
        raise ConfigurationError(f"--processes = {args.processes} must be within 1..256")
    if args.object and args.timesteps != 1:
        raise ConfigurationError("--timesteps is for the cell: with --object nothing moves")
    if args.object and (args.beside or args.in_cell != FOX):
        raise ConfigurationError("--in-cell and --beside are for the cell: not with --object")
    if args.object:
        return
    for name in ("keypoints", "object_family", "label_every", "height", "distractor_family",
                 "distractor_mesh", "together"):  # fmt: skip
        if getattr(args, name):
            raise ConfigurationError(f"--{name.replace('_', '-')} needs --object")


def object_spec(args: argparse.Namespace) -> ObjectSceneSpec:
    """The scenes that the arguments ask for.

    Raises:
        ConfigurationError: an argument that does not fit; the message names it.
    """
    width = args.width or 128
    rig = RandomRig(
        width=width,
        height=args.height or width,
        count=args.camera_count,
        pixel_m=args.pixel_mm / 1000.0,
    )
    family = args.object_family or ("test" if args.family == "test" else "train")
    return ObjectSceneSpec(
        objects=tuple(load_objects(args.object, args.keypoints or [], family, args.scale)),
        together=args.together,
        family=args.family,
        distractors=args.distractors,
        distractor_family=args.distractor_family,
        distractor_meshes=tuple(
            MeshObject.from_files(path, scale=args.scale) for path in args.distractor_mesh or ()
        ),
        rig=rig,
        fixed_cameras=args.cameras == "fixed",
        rig_seed=args.camera_seed,
        reach_m=tuple(args.reach),
        tilt_rad=math.radians(args.tilt_deg),
    )


def load_objects(
    wanted: list[str], keypoints: list[Path], family: str = "train", scale: float = 1.0
) -> list[MeshObject]:
    """Objects from their names on the command line.

    Args:
        wanted: "box", "shoe:SEED", "shoes", "shoes:COUNT" or the path of a mesh.
        keypoints: a file for each mesh among them, in order.
        family: of shoes, "train" or "test".
        scale: metres per unit of meshes from files.

    Raises:
        ConfigurationError: no such object, or another number of keypoint files than of meshes.
    """
    found: list[MeshObject] = []
    files = list(keypoints)
    for what in wanted:
        if what == "box":
            found.append(box.make_box())
        elif match := re.fullmatch(r"shoe:(\d{1,9})", what):
            found.append(shoe.make_shoe(int(match[1]), family))
        elif match := re.fullmatch(r"shoes(?::(\d{1,4}))?", what):
            count = int(match[1] or DEFAULT_SHOES)
            found += [shoe.make_shoe(seed, family) for seed in range(count)]
        elif not Path(what).suffix:
            raise ConfigurationError(
                f"object {what!r} must be box, shoe:SEED, shoes, shoes:COUNT or a mesh file"
            )
        elif not files:
            raise ConfigurationError(f"object {what!r} needs a file of --keypoints")
        else:
            found.append(MeshObject.from_files(what, files.pop(0), scale))
    if files:
        raise ConfigurationError(f"--keypoints {files[0]}: there is no mesh for it")
    return found
