"""Chunks: all rows once and in order; where memory runs out they are halved, and particles of one sample stay together."""

import pytest

from perrin.errors import PerrinError
from perrin.sample.chunking import in_chunks


def worker(most):
    """What rows it was given, and a function that has memory for so many at a time."""
    asked = []

    def work(rows):
        asked.append((rows.start, rows.stop))
        if rows.stop - rows.start > most:
            raise MemoryError
        return list(range(rows.start, rows.stop))

    return asked, work


@pytest.mark.parametrize(("n", "size", "most"), [(10, 4, 4), (10, 10, 3), (7, 100, 1), (1, 1, 1)])
def test_every_row_once_and_in_order(n, size, most):
    _, work = worker(most)
    assert [row for part in in_chunks(n, size, work) for row in part] == list(range(n))


@pytest.mark.parametrize(("of", "size", "most"), [(4, 24, 24), (4, 24, 11), (5, 15, 5)])
def test_chunks_are_multiples_of_what_stays_together(of, size, most):
    asked, work = worker(most)
    n = 6 * of
    assert [row for part in in_chunks(n, size, work, of) for row in part] == list(range(n))
    assert all(start % of == 0 and stop % of == 0 for start, stop in asked)


def test_too_little_for_one_is_said():
    with pytest.raises(PerrinError, match="a single sample"):
        in_chunks(4, 4, worker(0)[1])
    with pytest.raises(PerrinError, match="8 particles"):
        in_chunks(16, 16, worker(7)[1], of=8)


def test_other_errors_are_not_taken_for_it():
    def work(rows):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        in_chunks(4, 4, work)
