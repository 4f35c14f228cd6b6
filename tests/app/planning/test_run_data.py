"""What a run takes from its data: examples, pixels, their mean, and the model that is built on them."""

import os

import numpy as np
import pytest
import torch

from dregcli.app.loading.build import build_model
from dregcli.app.planning.mapped_examples import MappedExamples
from dregcli.app.planning.run_data import RunData
from dregcli.data.binarisation import StaticPixels
from dregcli.data.cache import read_cache
from dregcli.data.cache_writer import write_cache
from dregcli.data.catalogue import load_dataset
from dregcli.data.dataset import LEAST_SPREAD, Dataset, Draft
from dregcli.names import DataKind, Split
from dregcli.specs.run import RunSpec


def _spec(dataset: Dataset, **changes) -> RunSpec:
    return RunSpec(
        dataset=dataset.name,
        data_checksum=dataset.checksum,
        split_convention=dataset.split_convention,
        steps=1,
        hidden=(5, 4),
        latent_dim=2,
        **changes,
    )


@pytest.fixture
def digits(tmp_path) -> Dataset:
    return load_dataset("digits", tmp_path)


def _mapped(dataset: Dataset, folder) -> Dataset:
    write_cache(dataset, folder)
    return read_cache(dataset.name, folder, resident_bytes=0)


def _seen(data: RunData, split: Split, indices: torch.Tensor) -> np.ndarray:
    """What a model would see of pixels that are not drawn."""

    def never() -> torch.Tensor:
        raise AssertionError

    return data.pixels(data.examples(split).rows(indices), never).numpy()


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("binarisation", ["static-seed:4", "threshold:0.3"])
def test_fixed_pixels_are_those_of_their_split(tmp_path, digits, mapped, binarisation) -> None:
    data = RunData(_mapped(digits, tmp_path) if mapped else digits, _spec(digits, binarisation=binarisation))
    indices = torch.tensor([7, 0, 249, 31])
    for split in Split:
        stored = digits.splits[split][indices.numpy()]
        if binarisation.startswith("static"):
            expected = StaticPixels(split, seed=4, levels=16, width=64).rows(indices.numpy(), stored)
        else:
            expected = (stored / 16 > 0.3).astype(np.uint8)
        seen = _seen(data, split, indices)
        assert set(np.unique(seen)) == {0.0, 1.0}
        np.testing.assert_array_equal(seen, expected)
    whole = _seen(data, Split.TRAIN, torch.arange(len(digits.splits[Split.TRAIN])))
    mean, spread = data.model_data.mean.flatten().numpy(), data.model_data.spread.flatten().numpy()
    np.testing.assert_array_equal(mean, whole.mean(axis=0, dtype=np.float64).astype(np.float32))
    assert np.abs(mean - digits.scanned.moments.mean).max() > 0.01
    # The spread that the model is told is that of the pixels that it sees, not of the grey levels.
    np.testing.assert_allclose(spread, whole.std(axis=0).clip(min=LEAST_SPREAD), rtol=1e-4)


def test_drawn_pixels_have_the_mean_and_the_spread_of_their_intensity(digits) -> None:
    known, mean = RunData(digits, _spec(digits)).model_data, digits.scanned.moments.mean.astype(np.float32)
    np.testing.assert_array_equal(known.mean.flatten().numpy(), mean)
    pixels = RunData(digits, _spec(digits)).pixels
    rows, stream = torch.tensor(digits.splits[Split.TRAIN]), torch.Generator().manual_seed(3)
    drawn = [pixels(rows, lambda: torch.rand(rows.shape, generator=stream)) for _ in range(20)]
    assert set(torch.cat(drawn).unique().tolist()) == {0.0, 1.0}
    found, spread = torch.cat(drawn).std(dim=0), known.spread.flatten()
    # Of 25,940 draws of a pixel the deviation has a standard error of at most .0031.
    assert (found - spread).abs()[spread > LEAST_SPREAD].max() < 0.015
    assert (spread - torch.from_numpy(digits.spread())).max() > 0.1
    assert spread.min() == np.float32(LEAST_SPREAD)


@pytest.mark.parametrize("task", ["generative", "structured"])
def test_inputs_are_divided_by_their_spread_where_the_likelihood_says_so(digits, task) -> None:
    """Values of a density have no scale of their own; intensities have one."""
    for likelihood, binarisation in (
        ("bernoulli", "dynamic"),
        ("discretised-logistic", "none"),
        ("gaussian", "none"),
    ):
        spec = _spec(digits, likelihood=likelihood, binarisation=binarisation, task=task)
        found = build_model(spec, RunData(digits, spec).model_data).spread
        if likelihood == "gaussian":
            np.testing.assert_array_equal(found, digits.spread())
        else:
            assert found is None


def test_the_system_is_told_where_rows_lie(tmp_path, digits, monkeypatch) -> None:
    values = _mapped(digits, tmp_path).splits[Split.VALID]
    told = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, length, advice: told.append((start, length, advice)))
    MappedExamples(values, torch.device("cpu"), None).expect(torch.tensor([3, 200]))
    content = (tmp_path / "digits.h5").read_bytes()
    assert [content[start : start + length] for start, length, _ in told] == [bytes(values[3]), bytes(values[200])]
    assert {advice for *_, advice in told} == {os.POSIX_FADV_WILLNEED}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files by /proc")  # noqa: PTH112
def test_the_file_is_closed_with_the_examples(tmp_path, digits) -> None:
    mapped = _mapped(digits, tmp_path)

    def count() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = count()
    examples = [MappedExamples(mapped.splits[split], torch.device("cpu"), None) for split in Split]
    assert count() == before + 3
    del examples
    assert count() == before


def _real(height: int = 5, width: int = 2) -> Dataset:
    random = np.random.RandomState(0)
    scales = np.arange(1, height * width + 1)
    splits = {split: (random.standard_normal((30, height * width)) * scales).astype(np.float32) for split in Split}
    return Dataset.build(
        name="r",
        kind=DataKind.REAL,
        height=height,
        width=width,
        levels=1,
        splits=splits,
        split_convention="g",
        source="s",
    )


def _built(dataset: Dataset, **changes) -> dict[str, torch.Tensor]:
    spec = _spec(dataset, **changes)
    return build_model(spec, RunData(dataset, spec).model_data).state_dict()


def test_real_values_are_brought_to_one_scale() -> None:
    dataset = _real()
    state = _built(dataset, likelihood="gaussian", binarisation="none")
    for name in ("spread", "likelihood.spread"):
        np.testing.assert_array_equal(state[name], dataset.spread())


def test_intensities_keep_their_scale(digits) -> None:
    state = _built(digits, likelihood="discretised-logistic", binarisation="none")
    assert "spread" not in state
    np.testing.assert_array_equal(state["likelihood.spread"], digits.spread())
    assert digits.spread().min() == np.float32(LEAST_SPREAD)
    assert set(_built(digits)) == {
        "mean",
        *(f"{net}.{i}.{part}" for net in ("encoder", "decoder") for i in range(3) for part in ("weight", "bias")),
    }


def test_of_an_odd_number_of_rows_the_smaller_part_is_given() -> None:
    state = _built(_real(height=5), likelihood="gaussian", binarisation="none", task="structured")
    assert state["context_layer.weight"].shape[1] == 2 * 2
    np.testing.assert_array_equal(state["likelihood.spread"], _real(height=5).spread()[4:])


def test_the_crossed_variant_predicts_the_top_in_its_own_scale() -> None:
    dataset = _real(height=4)
    state = _built(dataset, likelihood="gaussian", binarisation="none", task="structured-reference")
    np.testing.assert_array_equal(state["likelihood.spread"], dataset.spread()[:4])


def test_a_draft_and_its_data_set_are_one(digits) -> None:
    again = digits.as_draft()
    assert isinstance(again, Draft)
    assert Dataset.build(**{name: getattr(again, name) for name in Draft.__dataclass_fields__}).checksum == (
        digits.checksum
    )
