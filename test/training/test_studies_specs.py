from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from s3k_ros.errors import ConfigurationError
from s3k_ros.params.training import TrainingParameters
from s3k_ros.training.studies.catalogue import STUDIES, study_named
from s3k_ros.training.studies.plan import table_of
from s3k_ros.training.studies.scales import OPERATIONAL, S3K, SCALES, scale_named, stage
from s3k_ros.training.studies.specs import Choice, Data, Part, RunSpec, key, samples

ROOT = Path(__file__).parents[2]
TWO = Data((Part("box", 10, pool=6), Part("box", 10, pool=6, seed=100)))


def spec(**changes: object) -> RunSpec:
    values = {
        "data": TWO,
        "labelled": Choice(3),
        "unlabelled": Choice(4),
        "stages": (("coarse", (("steps", 5),)),),
        "tests": (),
        "seed": 1,
    }
    return RunSpec(**{**values, **changes})


def test_a_key_depends_on_every_field_and_on_nothing_else() -> None:
    assert key(spec()) == key(spec())
    changes = (
        {"seed": 2}, {"labelled": Choice(2)}, {"fully_labelled": True},
        {"stages": (("coarse", (("steps", 6),)),)},
        {"data": dataclasses.replace(TWO, propagated=True)},
    )  # fmt: skip
    assert len({key(spec()), *(key(spec(**change)) for change in changes)}) == 1 + len(changes)


def test_threads_and_device_do_not_change_a_run() -> None:
    scale = SCALES["smoke"]
    assert not {name for name, _ in stage(scale, 1)} & set(OPERATIONAL)
    assert stage(scale, 1, {"threads": 7}) == stage(scale, 1)


def test_labelled_and_unlabelled_samples_never_meet() -> None:
    for seed in range(5):
        labelled, unlabelled = samples(spec(seed=seed, labelled=Choice(6)))
        assert len(labelled) == 6
        assert len(unlabelled) == 4
        assert not set(labelled) & set(unlabelled)


def test_a_seed_redraws_the_labels_and_leaves_the_unlabelled_samples() -> None:
    first, second = samples(spec(seed=1)), samples(spec(seed=2))
    assert first[0] != second[0]
    assert first[1] == second[1]


def test_choices_are_spread_evenly_over_parts() -> None:
    labelled, unlabelled = samples(spec(labelled=Choice(5, (0, 1)), unlabelled=Choice(6, (0, 1))))
    first = [i for i in labelled if i < 10]
    assert sorted((len(first), len(labelled) - len(first))) == [2, 3]
    assert unlabelled == [6, 7, 8, 16, 17, 18]


def test_the_fully_labelled_reference_sees_the_same_samples() -> None:
    labelled, unlabelled = samples(spec())
    assert samples(spec(fully_labelled=True)) == (labelled + unlabelled, [])


def test_only_the_first_timestep_of_a_scene_has_a_label_unless_it_is_propagated() -> None:
    fox = Data((Part("fox", 4, pool=2, timesteps=3),))
    choices = {"labelled": Choice(2), "unlabelled": Choice(1)}
    labelled, unlabelled = samples(spec(data=fox, **choices))
    assert labelled == [0, 3]
    assert sorted(unlabelled) == [1, 2, 4, 5, 6, 7, 8]
    propagated = dataclasses.replace(fox, propagated=True)
    assert samples(spec(data=propagated, **choices)) == ([0, 1, 2, 3, 4, 5], [6, 7, 8])


def test_more_scenes_than_a_part_has_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"labelled = 7 scenes of 'box', but it has 6"):
        spec(labelled=Choice(7))
    with pytest.raises(ConfigurationError, match="unlabelled = 5"):
        spec(unlabelled=Choice(5))


def test_a_part_with_a_bad_number_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="pool = 3"):
        Part("box", 2, pool=3)


@pytest.mark.parametrize("scale", SCALES.values(), ids=lambda scale: scale.name)
@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.name)
def test_every_table_is_whole(study, scale) -> None:  # type: ignore[no-untyped-def]
    runs = study.runs(scale)
    assert len({run.name for run in runs}) == len(runs) > 0
    for run in runs:
        assert dict(run.cell)["seed"] == run.spec.seed
        assert "test" in dict(run.spec.tests)
        assert all(part.family == "test" for _, part in run.spec.tests)


def test_small_fits_two_cores() -> None:
    assert all(len(study.runs(SCALES["small"])) <= 40 for study in STUDIES.values())


def test_equal_runs_of_two_studies_share_a_folder() -> None:
    small = SCALES["small"]
    labels = {key(run.spec) for run in STUDIES["labels"].runs(small)}
    for name in ("ablation", "domain-shift"):
        assert labels & {key(run.spec) for run in STUDIES[name].runs(small)}


def test_the_reference_configuration_is_that_of_the_file() -> None:
    path = ROOT / "config" / "training" / "s3k.yaml"
    stated = yaml.safe_load(path.read_text())
    stated = {**stated.get("common", stated), **stated.get("coarse", {})}
    params = TrainingParameters.from_mapping(dict(S3K))
    assert {name: stated[name] for name in S3K if name in stated} == {
        name: getattr(params, name) for name in S3K if name in stated
    }


def test_unknown_names_list_the_valid_ones() -> None:
    with pytest.raises(ConfigurationError, match="smoke, small, paper"):
        scale_named("huge")
    with pytest.raises(ConfigurationError, match="labels, domain-shift, category"):
        study_named("label")


def test_only_narrows_the_table_and_names_its_mistakes() -> None:
    study, scale = STUDIES["labels"], SCALES["small"]
    runs = table_of(study, scale, ["labelled=10", "seed=1,2"])
    assert runs
    assert {dict(run.cell)["labelled"] for run in runs} == {10}
    assert {dict(run.cell)["seed"] for run in runs} == {1, 2}
    for item, message in (
        ("labelled", "NAME=VALUE"), ("labels=3", "valid: method"), ("labelled=4", "values: 3, 10"),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match=message):
            table_of(study, scale, [item])
