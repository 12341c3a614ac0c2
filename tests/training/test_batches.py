"""Batches: what comes next is a function of the step, and is being read while the step runs."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from perrin.contracts import Batch
from perrin.training.batches import Batches


class Numbers:
    """Item i is the number i; reading one says which thread did, and may take its time."""

    description, skipped = {}, ()

    def __init__(self, count=20, seconds=0.0):
        self.count, self.seconds, self.readers = count, seconds, []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        time.sleep(self.seconds)
        self.readers.append(threading.get_ident())
        return torch.tensor([float(index)])


class Plain:
    shape, augments = (1,), False

    def encode(self, items, seeds=None):
        return Batch(torch.stack(list(items)), {"label": torch.stack(list(items))[:, 0].long()})


class Augmenting(Plain):
    augments = True


class Turning(Augmenting):
    """Turns the sign of the states of odd seeds, and can do so without the items."""

    augments_states = True

    def encode(self, items, seeds=None):
        plain = super().encode(items)
        return plain if seeds is None else Batch(self.augmented(plain.state, seeds), plain.condition)

    def augmented(self, state, seeds):
        return torch.where(torch.tensor(seeds)[:, None] % 2 == 0, state, -state)


def test_states_that_can_be_augmented_themselves_are_read_once_and_are_what_reading_would_give():
    data = Numbers()
    kept, read = Batches(data, Turning(), size=5, seed=3), Batches(Numbers(), Turning(), size=5, seed=3)
    read.cache = None
    readings = len(data.readers)
    signs = set()
    for step in range(8):
        one, other = kept(step), read(step)
        assert torch.equal(one.batch.state, other.batch.state)
        assert torch.equal(one.batch.condition["label"], other.batch.condition["label"])
        signs |= set(one.batch.state.sign().flatten().tolist())
    assert {-1.0, 1.0} <= signs
    assert len(data.readers) == readings == 20
    kept.close()
    read.close()


@pytest.mark.parametrize("codec", [Plain(), Augmenting()])
def test_a_batch_is_a_function_of_its_step(codec):
    """In memory or read anew, in any order: the same items, each once an epoch."""
    batches = Batches(Numbers(), codec, size=5, seed=3)
    forwards = [batches(step) for step in range(8)]
    for step in (6, 1, 2, 0):
        again = batches(step)
        assert torch.equal(again.batch.state, forwards[step].batch.state)
        assert torch.equal(again.seeds, forwards[step].seeds)
        assert torch.equal(again.u, forwards[step].u)
    batches.close()
    for epoch in (forwards[:4], forwards[4:]):
        assert sorted(int(v) for p in epoch for v in p.batch.state) == list(range(20))
    for portion in forwards:
        assert (
            portion.batch.state[:, 0].tolist() == portion.indices == portion.batch.condition["label"].tolist()
        )


@pytest.mark.parametrize("workers", [0, 2])
def test_the_next_batch_is_read_while_the_step_runs(workers):
    """A step as long as reading is not kept waiting for it, also without workers: only the first batch is waited for."""
    data = Numbers(40, seconds=0.01)
    batches = Batches(data, Augmenting(), size=4, seed=0, workers=workers)
    batches(0)
    waited = 0.0
    for step in range(1, 6):
        time.sleep(0.2)  # the step
        start = time.perf_counter()
        batches(step)
        waited += time.perf_counter() - start
    batches.close()
    assert (
        waited < 5 * 4 * 0.01 / 2
    )  # read in turn, each would wait 4 x 0.01 s, or half of it with two workers
    assert threading.get_ident() not in data.readers
