"""The clock of a run: what is over of its steps and budgets, the rates that follow, and a run that keeps its memory."""

from types import SimpleNamespace

import pytest
from tests.training.tiny import points_recipe, trainer, write_points

from perrin import heap
from perrin.training.distributed import Group
from perrin.training.pace import Pace
from perrin.training.recipe import Training


def pace(before=0.0, **options):
    return Pace(Training(**{"steps": 100, "lr": 1.0, "warmup": 0.0, **options}), Group(), before)


def test_what_preparing_cost_is_spent_and_no_part_of_training():
    """40 of 100 CPU-seconds went into preparing; of the 60 that are left half are over at 70."""
    clock = pace(before=40.0, cpu_seconds=100.0)
    assert clock.done() == 0
    clock.spent = 70.0
    assert clock.done() == pytest.approx(0.5)
    assert clock.rate() == pytest.approx(0.5)
    assert not clock.finished()
    clock.spent = 100.0
    assert clock.finished()


def test_the_first_limit_that_is_reached_ends_training():
    clock = pace(cpu_seconds=100.0, seconds=50.0)
    clock.step, clock.spent, clock.elapsed = 10, 20.0, 15.0
    assert clock.done() == pytest.approx(0.3)
    clock.elapsed = 50.0
    assert clock.finished()
    clock.elapsed, clock.step = 0.0, 100
    assert clock.finished()


def test_the_rate_rises_falls_and_ends_at_nothing():
    clock = pace(warmup=0.1, decay=0.5)
    rates = []
    for clock.step in range(100):
        rates.append(clock.rate())
    assert rates[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert rates[9:50] == pytest.approx([1.0] * 41)
    assert rates[75] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.02)


def test_what_is_due_comes_every_so_many_steps_or_so_often_in_a_run():
    clock = pace()
    found = []
    for clock.step in range(1, 101):
        found.append((clock.due(30, 4), clock.due(None, 4)))
    assert [i + 1 for i, (every, _) in enumerate(found) if every] == [30, 60, 90]
    assert [i + 1 for i, (_, parts) in enumerate(found) if parts] == [25, 50, 75, 100]


def test_a_run_keeps_the_memory_that_its_steps_free(tmp_path, monkeypatch):
    told = []
    library = SimpleNamespace(mallopt=lambda option, value: told.append((option, value)))
    monkeypatch.setattr(heap, "_gnu", lambda: library)
    one = trainer(points_recipe(write_points(tmp_path)), tmp_path / "run")
    seen, plain = [], one.advance

    def advance():
        seen.append(list(told))
        plain()

    one.advance = advance
    one.run()
    assert seen == [list(heap.KEEPING.items())] * 12
    assert told[-len(heap.USUAL) :] == list(heap.USUAL.items())
