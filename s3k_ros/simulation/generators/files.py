"""Writes an object as files that any 3D tool opens and that the renderer reads back."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import yaml

from s3k_ros.errors import ConfigurationError
from s3k_ros.simulation import dataset_options
from s3k_ros.simulation.generators.shoe_shape import FAMILIES
from s3k_ros.simulation.mesh import MeshObject


def write_files(mesh: MeshObject, folder: Path | str) -> tuple[Path, Path | None]:
    """Writes ``name``.obj, .mtl and .png, and .keypoints.yaml when it has keypoints.

    `MeshObject.from_files` reads them back to the same object, to a micrometre.

    Args:
        mesh: the object; metres, z up, as in the files.
        folder: made when it does not exist; files of these names are replaced.

    Returns:
        Paths of the mesh and of the keypoints (None without any).

    Raises:
        ConfigurationError: the folder cannot be written to.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{mesh.name}.obj"
        path.write_text(_obj(mesh), encoding="utf-8")
        path.with_suffix(".mtl").write_text(_mtl(mesh.name), encoding="utf-8")
        picture = cv2.imencode(".png", mesh.texture[..., ::-1])[1]
        path.with_suffix(".png").write_bytes(picture.tobytes())
        if not mesh.keypoints:
            return path, None
        keypoints = path.with_suffix(".keypoints.yaml")
        points = {key: np.round(point, 6).tolist() for key, point in mesh.keypoints.items()}
        text = yaml.safe_dump(points, default_flow_style=None, sort_keys=False)
        keypoints.write_text(f"# {mesh.name}: m, frame of the mesh\n{text}", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{folder}: cannot be written to: {error}") from error
    return path, keypoints


def _obj(mesh: MeshObject) -> str:
    lines = [f"mtllib {mesh.name}.mtl", f"o {mesh.name}", f"usemtl {mesh.name}"]
    lines += ["v {:.6f} {:.6f} {:.6f}".format(*vertex) for vertex in mesh.vertices]
    lines += ["vt {:.6f} {:.6f}".format(*place) for place in mesh.uv]
    lines += ["f " + " ".join(f"{i}/{i}" for i in face) for face in mesh.faces + 1]
    return "\n".join(lines) + "\n"


def _mtl(name: str) -> str:
    return f"newmtl {name}\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nmap_Kd {name}.png\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `s3k object`."""
    parser.add_argument("object", nargs="+", help="box, shoe:SEED, shoes:COUNT or shoes")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--family", choices=FAMILIES, default="train", help="of shoes")


def run(args: argparse.Namespace) -> int:
    """Writes generated objects as files; examples for `s3k dataset render --object`."""
    for mesh in dataset_options.load_objects(args.object, [], args.family):
        path, keypoints = write_files(mesh, args.out)
        print(f"--object {path} --keypoints {keypoints}")
    return 0
