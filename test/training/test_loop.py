# ruff: noqa: E402
from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from support.toy_training import KEYPOINTS, TINY, write_dataset

from s3k_ros.errors import ConfigurationError
from s3k_ros.training.dataset.reader import Dataset
from s3k_ros.training.inputs.sources import Sources, collect
from s3k_ros.training.model.keypoints import mirror_names
from s3k_ros.training.run.checkpoint import Checkpoint
from s3k_ros.training.run.devices import make_fabric
from s3k_ros.training.run.loop import Trainer, deterministic
from s3k_ros.training.run.schedule import Schedule

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with deterministic():
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("toy")
    dataset = Dataset(write_dataset(folder / "d", 4, 4))
    return collect(dataset, TINY, None, folder, say=str)


def trainer(sources: Sources, out: Path, say=str, info=None, **changes: object) -> Trainer:
    params = dataclasses.replace(TINY, **changes)
    info = info or {"object_id": "toy"}
    return Trainer(make_fabric(params), sources, KEYPOINTS, params, out, info, say, progress=False)


def weights(run: Trainer) -> torch.Tensor:
    both = [*run.model.state_dict().values(), *run.ema.state_dict().values()]
    return torch.cat([value.detach().flatten().double() for value in both])


def test_loss_on_labels_falls(sources: Sources, tmp_path: Path) -> None:
    run = trainer(
        sources, tmp_path, unlabelled_samples=0, augment=False, photometric=0.0, cutout=0.0,
        steps=40, learning_rate=5e-3,
    )  # fmt: skip
    losses = [float(run.train_step().supervised) for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"teacher_turns": 2, "shape": "rigid"},
        {"teacher": False, "gate": False, "shape": "none", "augment": False, "ema_decay": 0.0},
        {"heatmap_stride": 1, "guard_interval": 4},
    ],
    ids=["best", "rigid", "reference", "stride 1"],
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_by_bit(
    sources: Sources, tmp_path: Path, changes: dict[str, object]
) -> None:
    whole = trainer(sources, tmp_path / "whole", **changes)
    whole.run(14)
    trainer(sources, tmp_path / "half", **changes).run(12)
    resumed = trainer(sources, tmp_path / "half", **changes)
    assert resumed.step == 12
    resumed.run(14)
    assert torch.equal(weights(whole), weights(resumed))
    first, second = (Checkpoint.load(run.path) for run in (whole, resumed))
    assert first.progress == second.progress
    for name, value in first.tensors.items():
        assert torch.equal(value, second.tensors[name]), name


def test_another_seed_gives_other_weights(sources: Sources, tmp_path: Path) -> None:
    first, second = (trainer(sources, tmp_path / str(s), seed=s) for s in (1, 2))
    assert not torch.equal(weights(first), weights(second))


def test_a_run_with_other_parameters_is_not_resumed(sources: Sources, tmp_path: Path) -> None:
    trainer(sources, tmp_path).run(1)
    with pytest.raises(ConfigurationError, match=r"other parameters \(seed\)"):
        trainer(sources, tmp_path, seed=2)
    with pytest.raises(ConfigurationError, match=r"\(data\)"):
        trainer(sources, tmp_path, info={"data": {"labelled": [1]}})


def test_a_run_may_go_on_with_other_threads(sources: Sources, tmp_path: Path) -> None:
    trainer(sources, tmp_path).run(1)
    assert trainer(sources, tmp_path, threads=2, checkpoint_interval_s=5.0).step == 1


def test_progress_says_rate_losses_and_time_left(sources: Sources, tmp_path: Path) -> None:
    lines: list[str] = []
    trainer(sources, tmp_path, lines.append, steps=3).run()
    line = next(line for line in lines if "step 3/3" in line)
    for words in ("labels", "self", "accepted", "steps/s", "min left"):
        assert words in line


def test_lambda_is_zero_in_the_warm_up_and_rises_after(sources: Sources) -> None:
    schedule = Schedule(TINY, sources)
    found = [schedule.self_weight(step) for step in (0, 9, 10, 12, 14, 30)]
    assert found == pytest.approx([0, 0, 0.2, 0.6, 1.0, 1.0])


def test_every_unlabelled_sample_is_seen_before_one_repeats(sources: Sources) -> None:
    schedule = Schedule(dataclasses.replace(TINY, warmup_steps=0), sources)
    drawn = [int(i) for step in (0, 1) for i in schedule.plan(step).unlabelled]
    assert len(set(drawn)) == 4


def test_processes_share_the_walk_and_draw_apart(sources: Sources) -> None:
    params = dataclasses.replace(TINY, warmup_steps=0)
    plans = [Schedule(params, sources, rank, 2).plan(0) for rank in range(2)]
    assert len({int(i) for plan in plans for i in plan.unlabelled}) == 4
    assert plans[0].rng.random() != plans[1].rng.random()


def test_labels_fill_the_batch_before_there_are_pseudo_labels(sources: Sources) -> None:
    schedule = Schedule(TINY, sources)
    assert len(schedule.plan(0).labelled) == TINY.labelled_samples + TINY.unlabelled_samples
    assert len(schedule.plan(TINY.warmup_steps).labelled) == TINY.labelled_samples


def test_l2_is_an_exact_gradient_on_weights_alone(sources: Sources, tmp_path: Path) -> None:
    """Adam sees g + lambda w for weights of convolutions, g for biases and norms."""
    run = trainer(sources, tmp_path, weight_decay=0.5)
    seen = {
        p: group["weight_decay"] for group in run._optimiser.param_groups for p in group["params"]
    }
    for name, value in run.model.named_parameters():
        assert seen[value] == (0.5 if value.ndim > 1 else 0.0), name
    weight, bias = torch.ones(2, 2, requires_grad=True), torch.ones(2, requires_grad=True)
    groups = [{"params": [weight], "weight_decay": 0.5}, {"params": [bias], "weight_decay": 0.0}]
    plain = torch.optim.Adam(groups, lr=0.1, fused=True)
    weight.grad, bias.grad = torch.full((2, 2), -0.5), torch.zeros(2)
    plain.step()  # -0.5 + 0.5 * 1 = 0: nothing moves, unlike with decoupled decay
    assert torch.equal(weight.detach(), torch.ones(2, 2))
    assert torch.equal(bias.detach(), torch.ones(2))


def test_averaged_weights_follow_the_decay(sources: Sources, tmp_path: Path) -> None:
    run = trainer(sources, tmp_path, ema_decay=0.0)
    run.train_step()
    same = zip(run.model.state_dict().values(), run.ema.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    run = trainer(sources, tmp_path, ema_decay=1.0)
    before = weights(run)[: sum(p.numel() for p in run.model.parameters())]
    assert math.isfinite(float(before.sum()))


def test_guards_choose_the_weights(sources: Sources, tmp_path: Path) -> None:
    lines: list[str] = []
    run = trainer(sources, tmp_path, lines.append, steps=12, guard_interval=4)
    run.run()
    chosen = Checkpoint.load(run.model_path)
    scores = [float(line.split("score")[1]) for line in lines if "guards' score" in line]
    assert len(scores) == 3
    # Of scores that differ by chance alone the later one wins.
    assert chosen.info["guards"]["score"] <= 1.1 * min(scores) + 0.01
    assert chosen.step == chosen.info["guards"]["step"]
    assert any("LABELS head" in line for line in lines)
    network = chosen.network()
    assert not network.training


def test_truncated_checkpoint_is_refused(sources: Sources, tmp_path: Path) -> None:
    run = trainer(sources, tmp_path)
    run.run(1)
    data = run.path.read_bytes()
    run.path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ConfigurationError, match="not a checkpoint"):
        Checkpoint.load(run.path)


def test_mirror_exchanges_left_and_right_only() -> None:
    assert mirror_names(["head", "left_paw", "right_paw", "body"]) == [0, 2, 1, 3]
    assert mirror_names(["left_ear", "tip"]) == [0, 1]
