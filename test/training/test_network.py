# ruff: noqa: E402
from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from support.toy_training import TINY

from s3k_ros.training.method.network import KeypointNetwork
from s3k_ros.training.run.checkpoint import make_network

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("stride", [1, 2])
def test_maps_have_the_heatmaps_stride(stride: int) -> None:
    network = make_network(dataclasses.replace(TINY, heatmap_stride=stride), 3).eval()
    with torch.no_grad():
        logits = network(torch.zeros(2, 3, 48, 64))
    assert logits.shape == (2, 3, 48 // stride, 64 // stride)


@pytest.mark.parametrize("stride", [1, 2])
def test_maps_lie_where_the_cells_are_said_to_lie(stride: int) -> None:
    """A cell's place: features of stride 4, shuffled into rows and columns of cells."""
    network = KeypointNetwork(1, 4, (8,), (0,), stride).eval()
    factor = 4 // stride
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.copy_(torch.arange(factor**2, dtype=torch.float32))
        logits = network(torch.zeros(1, 3, 16, 16))[0, 0]
    expected = (
        torch.arange(factor**2, dtype=torch.float32).view(factor, factor).repeat(16 // 4, 16 // 4)
    )
    assert torch.equal(logits, expected)


def test_weights_depend_on_the_seed_alone() -> None:
    first, again, other = (
        make_network(dataclasses.replace(TINY, seed=seed), 2) for seed in (1, 1, 2)
    )
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_making_a_network_leaves_the_global_generator() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    make_network(TINY, 2)
    assert torch.equal(torch.rand(1), expected)


def test_sizes_that_no_stride_divides_still_work() -> None:
    network = make_network(TINY, 2).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 44, 60)).shape == (1, 2, 22, 30)


def test_unequal_widths_and_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        KeypointNetwork(1, 4, (8, 8), (1,))
    with pytest.raises(ValueError, match="heatmap_stride = 3"):
        KeypointNetwork(1, 4, (8,), (1,), 3)
