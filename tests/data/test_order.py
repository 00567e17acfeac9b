"""The order of images on host and device."""

import torch

from fobench.data.order import Indices

CPU = torch.device("cpu")


def test_batches_follow_the_order_and_the_last_can_be_short():
    order = torch.tensor([4, 0, 3, 1, 2])
    batches = list(Indices.of(order, CPU).batches(2))
    assert [each.host.tolist() for each in batches] == [[4, 0], [3, 1], [2]]
    assert [each.device.tolist() for each in batches] == [[4, 0], [3, 1], [2]]
    assert [len(each) for each in batches] == [2, 2, 1]


def test_a_short_batch_is_filled_up_with_its_first_image():
    short = Indices.of(torch.tensor([7, 5]), CPU)
    padded = short.padded(4)
    assert padded.host.tolist() == padded.device.tolist() == [7, 5, 7, 7]
    assert short.padded(2) is short
    assert short.padded(1) is short
