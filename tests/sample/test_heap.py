"""Freed memory stays with the process inside `kept_memory`, and only there."""

import json
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from perrin import heap
from perrin.denoise import exact
from perrin.heap import KEEPING, USUAL, kept_memory
from perrin.process import vp
from perrin.sample import make_plan, run


@pytest.fixture
def told(monkeypatch):
    """What the C library is told, option by option."""
    calls = []
    library = SimpleNamespace(mallopt=lambda option, value: calls.append((option, value)))
    monkeypatch.setattr(heap, "_gnu", lambda: library)
    return calls


def test_the_outermost_one_alone_tells_the_library_and_takes_it_back(told):
    with kept_memory() as able:
        assert able
        with kept_memory() as inner:
            assert inner
        assert told == list(KEEPING.items())
    assert told == [*KEEPING.items(), *USUAL.items()]


def test_of_two_threads_the_last_one_out_takes_it_back(told):
    entered, leave = threading.Event(), threading.Event()

    def other():
        with kept_memory():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(10)
    with kept_memory():
        pass
    assert told == list(KEEPING.items())
    leave.set()
    thread.join()
    assert told == [*KEEPING.items(), *USUAL.items()]


def test_an_error_takes_it_back_as_well(told):
    with pytest.raises(ValueError, match="stop"), kept_memory():
        raise ValueError("stop")
    assert told[-len(USUAL) :] == list(USUAL.items())


def test_every_option_that_is_set_is_taken_back():
    assert KEEPING.keys() == USUAL.keys()


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(heap, "_gnu", lambda: None)
    with kept_memory() as able:
        assert not able


def test_a_run_is_inside(told):
    seen, gaussian = [], exact.Gaussian(0.0, 0.5)

    def denoiser(x, level, condition=None):
        seen.append(list(told))
        return gaussian(x, level)

    run(make_plan("ddim", vp(), steps=3), denoiser, seeds=[0], shape=(2,))
    assert seen == [list(KEEPING.items())] * 3
    assert told == [*KEEPING.items(), *USUAL.items()]


HELD = """
import json, torch
from perrin.heap import kept_memory

def held():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 2**10

def freed(count, mebibytes):
    "MiB that the process holds more after blocks were written and freed."
    before = held()
    blocks = [torch.empty(mebibytes * 2**18).fill_(1.0) for _ in range(count)]
    del blocks
    return held() - before

freed(4, 16)
with kept_memory() as able:
    print(json.dumps([able, freed(4, 80), freed(20, 16)]))
"""


def test_blocks_below_the_threshold_stay_and_larger_ones_do_not():
    """20 blocks of 16 MiB, and before them 4 of 80, whose holes would cost most."""
    if sys.platform != "linux":
        pytest.skip("the C library of other systems is left alone")
    done = subprocess.run([sys.executable, "-c", HELD], check=True, capture_output=True, text=True)
    able, large, kept = json.loads(done.stdout)
    if not able:
        pytest.skip("the C library is not GNU's")
    assert large < 80
    assert kept > 160
