"""A limit on the memory of a test."""

import tracemalloc

import pytest

MEMORY = 100_000_000
"""What a refusal may take at most: the bombs promise far more."""


@pytest.fixture
def frugal():
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY
