"""`s3k dataset info|view|merge|split`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pyarrow")

from support.toy_training import CAMERAS, KEYPOINTS, rig, write_dataset

from s3k_ros import cli
from s3k_ros.errors import ConfigurationError
from s3k_ros.training.dataset.reader import Dataset, DatasetWriter
from s3k_ros.training.dataset.tools import view
from s3k_ros.training.dataset.tools.check import check
from s3k_ros.training.dataset.tools.merge import merge
from s3k_ros.training.dataset.tools.ranges import format_ranges, parse_ranges
from s3k_ros.training.dataset.tools.split import by_fraction, by_segment, write_parts

RIG = rig(64, 48)
Make = Callable[..., Dataset]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a dataset of plain images; segments and labelled samples are given."""

    def written(name: str, segments: list[int], labelled: tuple[int, ...] = (), **more) -> Dataset:
        head = {"object_id": "toy", "keypoints": KEYPOINTS, "cameras": CAMERAS, **more}
        shade = 16 * ord(name[0])
        with DatasetWriter(tmp_path / name, **head) as writer:
            for i, segment in enumerate(segments):
                images = {c.name: np.full((48, 64, 3), (shade + i) % 256, np.uint8) for c in RIG}
                clicks = {("a", head["keypoints"][0]): (float(i), 1.0)} if i in labelled else None
                writer.add(images, RIG, clicks, None, seed=i, segment=segment)
        return Dataset(tmp_path / name)

    return written


def s3k(*words: object) -> int:
    return cli.main(["dataset", *map(str, words)])


# ---- info ----------------------------------------------------------------------------------------


def test_info_tells_what_there_is(tmp_path: Path, capsys) -> None:
    folder = write_dataset(tmp_path / "toy", 2, 3, size=(64, 48))
    assert s3k("info", folder) == 0
    printed = capsys.readouterr().out
    assert "5, 2 labelled, in 5 segments" in printed
    assert all(name in printed for name in KEYPOINTS + CAMERAS)
    assert "64 x 48 px, fixed" in printed


def test_info_counts_clicks_and_objects_for_programs(tmp_path: Path, capsys) -> None:
    folder = write_dataset(tmp_path / "toy", 2, 3, size=(64, 48))
    assert s3k("info", folder, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    dataset = Dataset(folder)
    clicks = sum(len(dataset.clicks(i)) for i in range(5))
    assert sum(keypoint["clicks"] for keypoint in facts["keypoints"].values()) == clicks
    assert facts["objects"] == {"toy": 5}


def test_info_counts_the_poses_of_cameras_that_move(tmp_path: Path, capsys) -> None:
    images = {camera.name: np.zeros((48, 64, 3), np.uint8) for camera in RIG}
    turned = [rig(64, 48)[i] for i in (1, 0, 2, 3)]
    with DatasetWriter(tmp_path / "d", "toy", KEYPOINTS, CAMERAS) as writer:
        writer.add(images, RIG, None, None, seed=0)
        names = zip(CAMERAS, turned, strict=True)
        moved = [type(c)(n, c.width, c.height, c.matrix, c.distortion_model, c.distortion,
                         c.base_from_camera) for n, c in names]  # fmt: skip
        writer.add(images, moved, None, None, seed=0)
    s3k("info", tmp_path / "d")
    printed = capsys.readouterr().out
    assert "a: 64 x 48 px, 2 poses" in printed and "c: 64 x 48 px, fixed" in printed


def test_info_prints_no_control_characters_of_a_dataset(make: Make, capsys) -> None:
    s3k("info", make("d", [0], info={"note": "\x1b[2J", "\x1b[2Jkey": 1}).folder)
    assert "\x1b" not in capsys.readouterr().out


# ---- view ----------------------------------------------------------------------------------------


def test_view_draws_a_cross_in_the_keypoints_colour_where_the_click_is(make: Make) -> None:
    images = {camera.name: np.full((48, 64, 3), 128, np.uint8) for camera in RIG}
    folder = make("seed", [0]).folder.parent / "d"
    with DatasetWriter(folder, "toy", KEYPOINTS, CAMERAS, image_format="png") as writer:
        writer.add(images, RIG, {("b", "body"): (20.0, 30.0)}, None, seed=0)
    dataset = Dataset(folder)
    colour = view.colours(len(KEYPOINTS))[KEYPOINTS.index("body")]
    drawn = view.tile(dataset, 0, 1, 128, truth=False)
    assert tuple(drawn[60, 40]) == colour
    other = view.tile(dataset, 0, 0, 128, truth=False)
    assert (other == 128).all()


def test_view_draws_rings_also_in_views_without_a_click(tmp_path: Path) -> None:
    dataset = Dataset(write_dataset(tmp_path / "toy", 1, 0))
    absent = np.argwhere(np.isnan(dataset.labels(0)[..., 0]))
    camera, keypoint = absent[0]
    colour = np.array(view.colours(len(KEYPOINTS))[keypoint])
    drawn = view.tile(dataset, 0, int(camera), 320, truth=False).astype(int)
    near = np.abs(drawn - colour).sum(axis=-1) < 60
    place = dataset.cameras(0)[camera].project(dataset.truth(0)[keypoint]) * 2
    rows, columns = np.nonzero(near)
    assert (np.hypot(columns - place[0], rows - place[1]) < 14).sum() >= 5


@pytest.mark.parametrize("suffix", ["png", "html"])
def test_view_writes_a_sheet(tmp_path: Path, suffix: str, capsys) -> None:
    folder = write_dataset(tmp_path / "toy", 2, 6, size=(64, 48))
    out = tmp_path / f"sheet.{suffix}"
    assert s3k("view", folder, "--out", out, "--count", 3, "--truth", "--width", 64) == 0
    assert "3 of 8 samples" in capsys.readouterr().out
    if suffix == "png":
        assert cv2.imread(str(out)).shape == (22 + 3 * (22 + 48), 4 * 64, 3)
    else:
        text = out.read_text()
        assert text.count("data:image/jpeg;base64,") == 12
        assert all(f"sample {i}," in text for i in (0, 4, 7))


def test_a_page_holds_no_text_of_the_dataset_as_markup(make: Make, monkeypatch) -> None:
    dataset = make("d", [0])
    dataset.object_id = dataset.objects[0] = "<script>alert(1)</script>"
    dataset.folder = dataset.folder.parent / "<b>"
    page = view.page(dataset, [0], 64, truth=False)
    assert "<script" not in page and "<b>" not in re.sub("<b style", "", page)


def test_view_shows_the_samples_asked_for(make: Make) -> None:
    dataset = make("d", [0] * 9, labelled=(1, 5))
    assert view.chosen(dataset, "7,1-2", 1, labelled=False) == [7, 1, 2]
    assert view.chosen(dataset, None, 12, labelled=True) == [1, 5]
    assert view.chosen(dataset, None, 3, labelled=False) == [0, 4, 8]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--samples", "9"), "samples: no 9"),
        (("--samples", "x"), "samples = 'x'"),
        (("--labelled",), "no sample to show"),
        (("--out", "sheet.pdf"), "must end in .html or .png"),
        (("--width", "0"), "width = 0"),
    ],
)
def test_view_names_what_is_wrong(make: Make, capsys, more, named) -> None:
    assert s3k("view", make("d", [0, 1]).folder, *more) == 1
    assert named in capsys.readouterr().err


# ---- merge ---------------------------------------------------------------------------------------


def test_merge_numbers_samples_and_segments_anew(make: Make, tmp_path: Path) -> None:
    a, b = make("a", [0, 0, 4], labelled=(1,)), make("b", [4, 0], labelled=(0,))
    merged = Dataset(merge([a.folder, b.folder], tmp_path / "out"))
    assert merged.segments == [0, 0, 1, 2, 3]
    assert merged.seeds == [0, 1, 2, 0, 1]
    assert merged.labelled.tolist() == [False, True, False, True, False]
    assert merged.clicks(3) == b.clicks(0)
    assert merged.image_bytes(4, "d") == b.image_bytes(1, "d")
    assert not check(merged.folder).faults
    assert [part["samples"] for part in merged.info["merged"]] == [3, 2]


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"object_id": "shoe"}, "object_id differs: 'toy'"),
        ({"keypoints": KEYPOINTS[::-1]}, "keypoints differs"),
        ({"image_format": "png"}, "image_format differs: 'jpg'"),
    ],
)
def test_merge_names_what_does_not_fit(make: Make, tmp_path: Path, other, named) -> None:
    a, b = make("a", [0]), make("b", [0], **other)
    with pytest.raises(ConfigurationError, match=named) as error:
        merge([a.folder, b.folder], tmp_path / "out")
    assert str(a.folder) in str(error.value) and str(b.folder) in str(error.value)
    assert not (tmp_path / "out").exists()


def test_merge_names_other_cameras(make: Make, tmp_path: Path) -> None:
    a = make("a", [0])
    with DatasetWriter(tmp_path / "b", "toy", KEYPOINTS, ["a"]) as writer:
        writer.add({"a": np.zeros((48, 64, 3), np.uint8)}, RIG[:1], None, None, seed=0)
    with pytest.raises(ConfigurationError, match="cameras differs"):
        merge([a.folder, tmp_path / "b"], tmp_path / "out")


def test_merge_refuses_the_same_sample_twice(make: Make, tmp_path: Path, capsys) -> None:
    a = make("a", [0, 1])
    write_parts(a, {"part": [1]}, tmp_path)
    assert s3k("merge", a.folder, tmp_path / "part", "--out", tmp_path / "out") == 1
    assert "sample 0 of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_merge_needs_two(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="two datasets or more, got 1"):
        merge([make("a", [0]).folder], tmp_path / "out")


# ---- split ---------------------------------------------------------------------------------------

SEGMENTS = st.lists(st.integers(0, 9), min_size=4, max_size=40).filter(lambda s: len(set(s)) >= 4)


class Numbers:
    """A dataset's numbers alone, which is all that the choice of parts needs."""

    def __init__(self, segments: list[int], labelled: set[int]) -> None:
        self.segments = segments
        self.labelled = np.array([i in labelled for i in range(len(segments))])

    def __len__(self) -> int:
        return len(self.segments)


@given(SEGMENTS, st.sets(st.integers(0, 39)), st.integers(0, 5))
def test_parts_are_disjoint_complete_and_never_divide_a_segment(segments, labelled, seed) -> None:
    numbers = Numbers(segments, labelled)
    try:
        parts = by_fraction(numbers, {"train": 0.6, "test": 0.4}, seed)
    except ConfigurationError as error:
        assert "leaves it empty" in str(error)
        return
    assert sorted(parts["train"] + parts["test"]) == list(range(len(segments)))
    assert not {segments[i] for i in parts["train"]} & {segments[i] for i in parts["test"]}
    assert parts == by_fraction(numbers, {"train": 0.6, "test": 0.4}, seed)


@given(st.integers(20, 200), st.integers(0, 20), st.floats(0.1, 0.9))
def test_sizes_follow_the_fractions_for_labelled_samples_too(count, labelled, share) -> None:
    numbers = Numbers(list(range(count)), set(range(labelled)))
    parts = by_fraction(numbers, {"a": share, "b": 1 - share}, 0)
    assert abs(len(parts["a"]) - share * count) <= 2
    assert abs(int(numbers.labelled[parts["a"]].sum()) - share * labelled) <= 1


def test_another_seed_draws_other_samples() -> None:
    numbers = Numbers(list(range(100)), set())
    drawn = [by_fraction(numbers, {"a": 0.5, "b": 0.5}, seed)["a"] for seed in (0, 1)]
    assert drawn[0] != drawn[1]


def test_what_the_fractions_leave_is_left_out() -> None:
    parts = by_fraction(Numbers(list(range(100)), set()), {"few": 0.1}, 0)
    assert {name: len(samples) for name, samples in parts.items()} == {"few": 10}


def test_parts_by_segment_numbers() -> None:
    numbers = Numbers([0, 0, 1, 2, 2, 3], set())
    assert by_segment(numbers, {"test": "0,2-3", "train": "rest"}) == {
        "test": [0, 1, 3, 4, 5],
        "train": [2],
    }


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("train=0.8", "test=0.4"), "add up to 1.2"),
        (("train=0", "test=1"), "train = 0.0 must be above 0"),
        (("train=nan",), "train = nan"),
        (("train=many",), "train = 'many'"),
        (("train=0.5", "train=0.5"), "different names"),
        (("train",), "NAME=VALUE"),
        (("../x=0.5",), "'../x' is not a name"),
        (("a=0.97", "b=0.01", "c=0.01", "d=0.01"), "leaves it empty"),
        (("a=7", "--segments"), "no segment 7; there are 0-2"),
        (("a=0", "b=0-1", "--segments"), "segment 0 is in a and in b"),
        (("a=rest", "b=rest", "--segments"), "only one part can be the rest"),
        (("a=0-2", "b=rest", "--segments"), "no segment is left"),
        (("a=2-1", "--segments"), "a = '2-1'"),
    ],
)
def test_split_names_what_is_wrong_and_writes_nothing(make, tmp_path, capsys, words, named) -> None:
    dataset = make("d", [0, 1, 2])
    assert s3k("split", dataset.folder, *words, "--out", tmp_path / "out") == 1
    assert named in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_split_writes_sound_datasets_that_merge_again(make: Make, tmp_path: Path, capsys) -> None:
    dataset = make("d", [5, 5, 6, 7, 7, 8], labelled=(0, 2))
    words = ["split", dataset.folder, "test=5,8", "train=rest", "--segments"]
    assert s3k(*words, "--out", tmp_path / "out") == 0
    assert "3 samples, 1 labelled, 2 segments" in capsys.readouterr().out
    test, train = (Dataset(tmp_path / "out" / name) for name in ("test", "train"))
    assert (test.segments, train.segments) == ([5, 5, 8], [6, 7, 7])
    assert test.info["part"] == "test"
    merged = Dataset(merge([test.folder, train.folder], tmp_path / "again"))
    assert sorted(merged.image_bytes(i, "a") for i in range(6)) == sorted(
        dataset.image_bytes(i, "a") for i in range(6)
    )
    assert not any(check(folder).faults for folder in (test.folder, train.folder, merged.folder))


def test_split_does_not_touch_a_folder_in_use(make: Make, tmp_path: Path) -> None:
    (tmp_path / "out" / "b").mkdir(parents=True)
    (tmp_path / "out" / "b" / "mine.txt").write_text("x")
    with pytest.raises(ConfigurationError, match="b is not empty"):
        write_parts(make("d", [0, 1]), {"a": [0], "b": [1]}, tmp_path / "out")
    assert not (tmp_path / "out" / "a").exists()


# ---- ranges --------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 60), min_size=1))
def test_ranges_are_read_as_they_are_written(numbers: list[int]) -> None:
    assert parse_ranges(format_ranges(numbers), "x") == sorted(set(numbers))


@pytest.mark.parametrize("text", ["", ",", "a", "1-", "-1", "3-2", "1.5", "0-99999999999", "٣"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="samples"):
        parse_ranges(text, "samples")
