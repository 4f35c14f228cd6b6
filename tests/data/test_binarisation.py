import numpy as np
import pytest

from dregcli.data.binarisation import StaticPixels, ThresholdPixels, fixed_blocks
from dregcli.names import Split

WIDTH = 13


def _stored(n: int, *, levels: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, levels + 1, (n, WIDTH)).astype(np.uint8)


def _static(split: Split = Split.TRAIN, seed: int = 3, levels: int = 16) -> StaticPixels:
    return StaticPixels(split, seed=seed, levels=levels, width=WIDTH)


def test_a_part_in_any_order_has_the_pixels_of_the_whole(monkeypatch) -> None:
    stored = _stored(50)
    whole = _static().block(0, stored)
    monkeypatch.setattr("dregcli.data.scan.CHUNK_VALUES", 7 * WIDTH)
    np.testing.assert_array_equal(np.concatenate(list(fixed_blocks(_static(), stored))), whole)
    order = np.random.RandomState(1).permutation(50)[:20]
    np.testing.assert_array_equal(_static().rows(order, stored[order]), whole[order])
    np.testing.assert_array_equal(_static().block(11, stored[11:30]), whole[11:30])


def test_the_numbers_are_philoxs_own() -> None:
    """By hand: key (seed, split), example i from value i * ceil(D / 8) of the counter, 32 bits a pixel, low first."""
    stored = _stored(4)
    generator = np.random.Philox(key=np.array([3, 2], np.uint64), counter=2 * 2)
    words = generator.random_raw(8)
    halves = [half for word in words.tolist() for half in (word % 2**32, word // 2**32)][:WIDTH]
    expected = [int(half * 16 < int(value) * 2**32) for half, value in zip(halves, stored[2], strict=True)]
    assert _static(Split.TEST).block(2, stored[2:3])[0].tolist() == expected


def test_seeds_splits_and_examples_have_numbers_of_their_own() -> None:
    same = np.full((40, WIDTH), 8, np.uint8)
    drawn = [_static().block(0, same), _static(seed=4).block(0, same), _static(Split.VALID).block(0, same)]
    for i, one in enumerate(drawn):
        assert len(np.unique(one, axis=0)) > 35
        for other in drawn[i + 1 :]:
            assert 0.4 < (one == other).mean() < 0.6


def test_pixels_are_bernoulli_in_the_intensity() -> None:
    """Frequencies over 20,000 draws within 6 standard errors: fails by chance for one seed in 10^7."""
    stored = np.repeat(np.arange(WIDTH, dtype=np.uint8)[None], 20_000, axis=0)
    mean = _static(levels=12).block(0, stored).mean(axis=0)
    intensity = np.arange(WIDTH) / 12
    assert (np.abs(mean - intensity) <= 6 * np.sqrt(intensity * (1 - intensity) / 20_000)).all()
    assert mean[0] == 0.0
    assert mean[-1] == 1.0


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_float_intensities_draw_as_bytes_do(dtype) -> None:
    stored = _stored(30)
    values = stored if dtype == np.uint8 else (stored / 16).astype(np.float32)
    found = _static(levels=16 if dtype == np.uint8 else 1).block(0, values)
    np.testing.assert_array_equal(found, _static().block(0, stored))


def test_a_threshold_never_lights_its_own_level() -> None:
    for levels in (10, 16, 100, 255):
        stored = np.arange(levels + 1, dtype=np.uint8)[None]
        for level in range(levels):
            for values, of in ((stored, levels), ((stored / levels).astype(np.float32), 1)):
                lit = ThresholdPixels(level / levels, of).block(0, values)[0]
                assert lit.tolist() == [0] * (level + 1) + [1] * (levels - level)


def test_no_draw_lights_a_black_pixel(monkeypatch) -> None:
    class _Zeros:
        def __init__(self, key):
            pass

        def advance(self, delta):
            pass

        def random_raw(self, size):
            return np.zeros(size, np.uint64)

    monkeypatch.setattr(np.random, "Philox", _Zeros)
    assert _static().block(0, np.array([[0] * 12 + [1]], np.uint8)).tolist() == [[0] * 12 + [1]]


def test_threshold_is_strict() -> None:
    stored = np.array([[0, 7, 8, 9, 16]], np.uint8)
    assert ThresholdPixels(0.5, 16).block(0, stored).tolist() == [[0, 0, 0, 1, 1]]
    assert ThresholdPixels(0.0, 16).rows(np.array([5]), stored).tolist() == [[0, 1, 1, 1, 1]]
    assert ThresholdPixels(0.5, 1).block(0, (stored / 16).astype(np.float32)).tolist() == [[0, 0, 0, 1, 1]]
