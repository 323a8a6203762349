"""Out of memory: fewer pairs at a time, said once for each halving, and remembered."""

from __future__ import annotations

import warnings

import pytest

from xnorm.errors import ConfigError, XnormError
from xnorm.memory import Chunks, MemoryWarning, told_in_one_line


def work_of(fits, seen):
    def work(size):
        seen.append(size)
        if size > fits:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return size

    return work


@pytest.mark.parametrize(
    ("size", "of", "fits", "tried"),
    [
        (64, 1000, 64, [64]),
        (64, 1000, 20, [64, 32, 16]),
        (64, 30, 20, [64, 15]),  # 32 would be no other work than 64
        (7, 1000, 1, [7, 3, 1]),
        (1, 1, 1, [1]),
    ],
)
def test_half_as_many_until_it_suffices(size, of, fits, tried):
    said, seen = [], []
    chunks = Chunks(size, said.append)
    assert chunks.run(work_of(fits, seen), of) == tried[-1] == chunks.size
    assert seen == tried
    assert [int(line.split(" with ")[1].split()[0]) for line in said] == tried[1:]
    seen.clear()
    chunks.run(work_of(fits, seen), 1000)
    assert seen == tried[-1:]  # remembered


def test_it_is_said_or_warned_of():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Chunks(4).run(work_of(1, []), 4)
    assert [w.category for w in caught] == [MemoryWarning] * 2
    assert [str(w.message) for w in caught] == [
        "out of memory: going on with 2 pairs at a time",
        "out of memory: going on with 1 pair at a time",
    ]


def test_what_it_is_that_goes_through_the_model():
    said = []
    chunks = Chunks(4, said.append, what="text", fix="take a smaller model")
    assert chunks.run(work_of(2, []), 4) == 2
    assert said == ["out of memory: going on with 2 texts at a time"]
    with pytest.raises(ConfigError, match=r"^out of memory with one text at a time; take a smaller model$"):
        chunks.run(work_of(0, []), 4)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_one_pair_that_is_too_much(size):
    with pytest.raises(ConfigError, match="out of memory with one pair at a time; take a shorter") as e:
        Chunks(size, lambda line: None).run(work_of(0, []), 50)
    assert "\n" not in str(e.value)


def test_what_failed_is_let_go_before_it_is_tried_again():
    import weakref

    class Activations:
        pass

    held = []

    def work(size):
        assert not held or held[-1]() is None
        own = Activations()
        held.append(weakref.ref(own))
        if size > 1:
            raise RuntimeError("out of memory")

    Chunks(8, lambda line: None).run(work, 8)
    assert len(held) == 4


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ValueError("out of memory"), KeyError])
def test_other_errors_stay_what_they_are(error):
    def work(size):
        raise error

    chunks = Chunks(8)
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        chunks.run(work, 8)
    assert chunks.size == 8


def test_errors_in_one_line():
    message = r"^training: out of memory \(CUDA out of memory. Tried\); take a sh"
    with pytest.raises(XnormError, match=message) as e, told_in_one_line("training"):
        raise RuntimeError("CUDA out of memory.\nTried")
    assert "\n" not in str(e.value)
    with pytest.raises(RuntimeError, match="other"), told_in_one_line("training"):
        raise RuntimeError("other")
