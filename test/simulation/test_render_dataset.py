"""`s3k dataset render`: what is labelled, how a killed run goes on, the fox at several times."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3k_ros.errors import ConfigurationError
from s3k_ros.simulation import dataset, dataset_options, pipeline
from s3k_ros.simulation.generators import box, files
from s3k_ros.simulation.object_scene import ObjectSceneSpec, RandomRig
from s3k_ros.training.dataset.reader import Dataset

SPEC = ObjectSceneSpec(
    (box.make_box(),), rig=RandomRig(32, 32), table_pool=1, distractors=0, antialiasing=0
)


def _options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    dataset.add_arguments(parser)
    return parser.parse_args(["--out", "somewhere", *words])


def _render(out: Path, **values: Any) -> Dataset:
    wanted = {"labelled": 2, "unlabelled": 4, "seed": 5, "progress": False, **values}
    dataset.render_object_dataset(wanted.pop("spec", SPEC), out, **wanted)
    return Dataset(out)


@pytest.mark.sim
def test_first_samples_are_labelled_unless_asked_otherwise(tmp_path: Path) -> None:
    first, spread = _render(tmp_path / "a"), _render(tmp_path / "b", label_every=3)
    assert np.flatnonzero(first.labelled).tolist() == [0, 1]
    assert np.flatnonzero(spread.labelled).tolist() == [0, 3]
    assert first.seeds == [5, 6, 7, 8, 9, 10]
    assert first.segments == list(range(6))
    np.testing.assert_array_equal(first.truth(4), spread.truth(4))
    assert first.object_id == "box"
    assert first.info["scene"]["objects"] == ["box"]


@pytest.mark.sim
def test_png_keeps_the_pictures_as_rendered(tmp_path: Path) -> None:
    found = _render(tmp_path / "a", labelled=0, unlabelled=1, image_format="png")
    renderer = dataset.ObjectSceneRenderer(SPEC)
    try:
        sample = renderer.sample(5)
    finally:
        renderer.close()
    for image, name in zip(found.images(0), found.camera_names, strict=True):
        np.testing.assert_array_equal(image, sample.images[name])


@pytest.mark.sim
def test_killed_run_goes_on_to_the_same_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _render(tmp_path / "whole")
    shots = dataset.ObjectScenes.shots

    def broken(*args: Any) -> Iterator[pipeline.Shot]:
        if args[-1] == 3:
            raise KeyboardInterrupt
        return shots(*args)

    with monkeypatch.context() as patch:
        patch.setattr(dataset.ObjectScenes, "shots", broken)
        with pytest.raises(KeyboardInterrupt):
            _render(tmp_path / "cut")
    again = _render(tmp_path / "cut")
    assert again.seeds == whole.seeds
    for i in range(len(whole)):
        np.testing.assert_array_equal(again.truth(i), whole.truth(i))
        np.testing.assert_array_equal(again.labels(i), whole.labels(i))
        np.testing.assert_array_equal(again.images(i), whole.images(i))


@pytest.mark.sim
def test_several_processes_render_the_same_dataset_byte_for_byte(tmp_path: Path) -> None:
    found = []
    for name, processes in (("one", 1), ("two", 2)):
        _render(tmp_path / name, processes=processes, label_every=3, image_format="png")
        files = (path for path in (tmp_path / name).rglob("*") if path.is_file())
        found.append({path.name: path.read_bytes() for path in files})
    assert found[0] == found[1]


@pytest.mark.sim
def test_samples_of_several_objects_name_theirs(tmp_path: Path) -> None:
    other = dataclasses.replace(SPEC.objects[0], name="crate")
    found = _render(
        tmp_path / "a", spec=dataclasses.replace(SPEC, objects=(*SPEC.objects, other)), unlabelled=8
    )
    assert set(found.objects) == {"box", "crate"}


@pytest.mark.sim
def test_mesh_from_files_looks_as_the_object_it_was_written_from(tmp_path: Path) -> None:
    mesh, keypoints = files.write_files(SPEC.objects[0], tmp_path)
    assert keypoints is not None
    read = dataset_options.load_objects([str(mesh)], [keypoints])[0]
    assert list(read.keypoints) == list(SPEC.objects[0].keypoints)
    one = _render(tmp_path / "a", labelled=0, unlabelled=2)
    two = _render(
        tmp_path / "b", labelled=0, unlabelled=2, spec=dataclasses.replace(SPEC, objects=(read,))
    )
    for i in range(2):
        np.testing.assert_allclose(one.truth(i), two.truth(i), atol=1e-5)
        difference = np.abs(np.subtract(one.images(i), two.images(i), dtype=float))
        assert difference.mean() < 2.0


@pytest.mark.sim
@pytest.mark.slow
def test_fox_at_several_times_stands_still_while_the_arm_moves(tmp_path: Path) -> None:
    dataset.render_cell_dataset(
        tmp_path / "fox", "dev", 1, 1, 3, width=64, timesteps=3, progress=False
    )
    found = Dataset(tmp_path / "fox")
    assert found.segments == [0, 0, 0, 1, 1, 1]
    assert np.flatnonzero(found.labelled).tolist() == [0]
    for i in (1, 2):
        np.testing.assert_array_equal(found.truth(0), found.truth(i))
        changed = np.abs(np.subtract(found.images(0), found.images(i), dtype=float)) > 40
        assert 0.002 < changed.mean() < 0.5
    assert np.abs(found.truth(3) - found.truth(0)).max() > 0.005


def test_seed_of_a_file_is_decided_by_its_content(tmp_path: Path) -> None:
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
    seeds = [dataset.seed_from(tmp_path / name) for name in "abc"]
    assert seeds[0] == seeds[1] != seeds[2]
    assert 0 <= seeds[0] < 2**48
    with pytest.raises(ConfigurationError, match="cannot be read"):
        dataset.seed_from(tmp_path / "none")


def test_options_become_a_spec() -> None:
    args = _options(
        "--object", "box", "--width", "64", "--height", "48", "--cameras", "fixed", "--camera-seed",
        "3", "--distractors", "2", "--distractor-family", "epoch1", "--tilt-deg", "0", "--reach",
        "0.1", "0.2", "--family", "dev",
    )  # fmt: skip
    spec = dataset_options.object_spec(args)
    assert (spec.rig.width, spec.rig.height) == (64, 48)
    assert spec.fixed_cameras and spec.rig_seed == 3
    assert (spec.distractors, spec.distractor_family, spec.family) == (2, "epoch1", "dev")
    assert spec.tilt_rad == 0 and spec.reach_m == (0.1, 0.2)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--label-every", "2"], "--label-every needs --object"),
        (["--keypoints", "k.yaml"], "--keypoints needs --object"),
        (["--object", "box", "--timesteps", "3"], "--timesteps"),
        (["--object", "box", "--processes", "0"], "--processes"),
    ],
)
def test_options_that_do_not_go_together_are_named(words: list[str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        dataset_options.check(_options(*words))


@pytest.mark.parametrize(
    ("wanted", "keypoints", "named"),
    [
        (["sphere"], [], "'sphere' must be box"),
        (["thing.obj"], [], "needs a file of --keypoints"),
        (["thing.obj"], [Path("k.yaml")], "no such mesh"),
        (["box"], [Path("k.yaml")], "there is no mesh for it"),
    ],
)
def test_unknown_objects_are_named(wanted: list[str], keypoints: list[Path], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        dataset_options.load_objects(wanted, keypoints)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"labelled": -1}, "labelled"),
        ({"labelled": 0, "unlabelled": 0}, "nothing to render"),
        ({"label_every": 9}, "label_every"),
        ({"label_every": 0}, "label_every"),
    ],
)
def test_impossible_counts_are_named(tmp_path: Path, values: dict[str, int], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        _render(tmp_path / "a", **values)
