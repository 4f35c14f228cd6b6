"""Random numbers are functions of their address."""

import torch

from dregcli.defaults import NOISE_BLOCK
from dregcli.engine.randomness import Randomness, Stream, address


def test_addresses_never_change() -> None:
    """Golden, by `b2sum -l 64` of four little-endian 64-bit integers. Every stored run depends on them."""
    assert address(0, Stream.NOISE, 0, 0) == 0x191E3B4B55D38562
    assert address(7, Stream.ORDER, 3, 2) == 0x4046625ECF37827C


def test_addresses_differ() -> None:
    found = {address(a, stream, b, c) for a in range(3) for stream in Stream for b in range(5) for c in range(5)}
    assert len(found) == 3 * len(Stream) * 25


def test_the_noise_of_few_samples_is_the_prefix_of_that_of_many() -> None:
    randomness = Randomness(3)
    many = randomness.normal(Stream.NOISE, 5, k=1024, batch=4, width=3)
    for k in (1, 16, 17, 64):
        assert torch.equal(randomness.normal(Stream.NOISE, 5, k=k, batch=4, width=3), many[:k])


def test_chunks_equal_the_whole() -> None:
    randomness = Randomness(3)
    whole = randomness.normal(Stream.NOISE, 5, k=64, batch=4, width=3)
    chunks = [randomness.normal(Stream.NOISE, 5, k=16, batch=4, width=3, first=f) for f in range(0, 64, NOISE_BLOCK)]
    assert torch.equal(torch.cat(chunks), whole)


def test_draws_do_not_depend_on_what_ran_before() -> None:
    first = Randomness(1).normal(Stream.NOISE, 9, k=16, batch=2, width=2)
    other = Randomness(1)
    other.permutation(Stream.ORDER, 0, 100)
    other.uniform(Stream.PIXELS, 9, 8)
    assert torch.equal(other.normal(Stream.NOISE, 9, k=16, batch=2, width=2), first)


def test_steps_streams_seeds_and_blocks_differ() -> None:
    draws = [
        Randomness(seed).normal(stream, step, k=16, batch=2, width=2)
        for seed in (0, 1)
        for stream in (Stream.NOISE, Stream.EVALUATION_NOISE)
        for step in (0, 1)
    ]
    blocks = Randomness(0).normal(Stream.NOISE, 7, k=32, batch=2, width=2)
    draws += [blocks[:16], blocks[16:]]
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])


def test_the_noise_is_standard_normal() -> None:
    """Mean and variance of 10^6 numbers within 6 standard errors: fails by chance once in 10^8 seeds."""
    noise = Randomness(12).normal(Stream.NOISE, 0, k=1024, batch=32, width=32).double()
    n = noise.numel()
    assert abs(float(noise.mean())) < 6 / n**0.5
    assert abs(float(noise.var()) - 1) < 6 * (2 / n) ** 0.5
