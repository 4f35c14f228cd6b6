"""Which binarisation and likelihood a data set gets, and what is refused."""

import numpy as np
import pytest

from dregcli.app.planning.observation import observation, observation_warning
from dregcli.data.dataset import Dataset, Draft
from dregcli.engine.likelihoods.gaussian import SCALE_FLOOR
from dregcli.names import DataKind, LikelihoodName, Split


def _dataset(kind: str, *, height: int = 4, width: int = 3) -> Dataset:
    kinds = {
        "binary": (DataKind.BINARY, np.uint8, 1),
        "levels": (DataKind.INTENSITY, np.uint8, 255),
        "fractions": (DataKind.INTENSITY, np.float32, 1),
        "real": (DataKind.REAL, np.float32, 1),
    }
    data_kind, dtype, levels = kinds[kind]
    splits = {split: np.zeros((3, height * width), dtype) for split in Split}
    return Dataset.build(
        name="toy",
        kind=data_kind,
        height=height,
        width=width,
        levels=levels,
        splits=splits,
        split_convention="given",
        source="here",
    )


@pytest.mark.parametrize(
    ("kind", "given", "binarisation", "likelihood"),
    [
        ("binary", {}, "none", "bernoulli"),
        ("binary", {"binarisation": "none", "likelihood": "bernoulli"}, "none", "bernoulli"),
        ("real", {}, "none", "gaussian"),
        ("levels", {}, "dynamic", "bernoulli"),
        ("levels", {"likelihood": "bernoulli"}, "dynamic", "bernoulli"),
        ("levels", {"likelihood": "discretised-logistic"}, "none", "discretised-logistic"),
        ("levels", {"likelihood": "gaussian"}, "none", "gaussian"),
        ("levels", {"binarisation": "none"}, "none", "discretised-logistic"),
        ("levels", {"binarisation": "static-seed 2"}, "static-seed 2", "bernoulli"),
        ("levels", {"binarisation": "threshold:0.5"}, "threshold:0.5", "bernoulli"),
        ("fractions", {}, "dynamic", "bernoulli"),
        ("fractions", {"binarisation": "none"}, "none", "gaussian"),
    ],
)
def test_what_is_not_given_follows(kind, given, binarisation, likelihood) -> None:
    chosen, faults = observation(_dataset(kind), given)
    assert faults == []
    assert chosen == {"binarisation": binarisation, "likelihood": likelihood}


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("binary", {"binarisation": "dynamic"}, ["binarisation: the pixels of toy are 0 and 1 already"]),
        (
            "binary",
            {"likelihood": "gaussian"},
            ["likelihood: gaussian needs real values or intensities, but toy has binary pixels: use bernoulli"],
        ),
        (
            "real",
            {"binarisation": "threshold:0.5", "likelihood": "bernoulli"},
            [
                "binarisation: toy has real values",
                "likelihood: bernoulli needs binary pixels, but toy has real values: use gaussian",
            ],
        ),
        (
            "levels",
            {"binarisation": "none", "likelihood": "bernoulli"},
            ["likelihood: bernoulli needs binary pixels"],
        ),
        ("levels", {"binarisation": "dynamic", "likelihood": "gaussian"}, ["likelihood: gaussian models the intens"]),
        (
            "fractions",
            {"likelihood": "discretised-logistic"},
            ["needs whole grey levels, but toy has fractions: use gaussian"],
        ),
        ("levels", {"binarisation": "dynamc"}, ["binarisation: must be dynamic"]),
        ("levels", {"likelihood": "gausian"}, ["likelihood: no likelihood is called 'gausian'. Did you mean"]),
        ("levels", {"task": "structurd"}, ["task: no task is called 'structurd'. Did you mean 'structured'"]),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(kind, given, said) -> None:
    _, faults = observation(_dataset(kind), given)
    assert len(faults) == len(said)
    for fault, part in zip(faults, said, strict=True):
        assert part in str(fault)


@pytest.mark.parametrize(
    ("task", "height", "said"),
    [
        ("structured", 1, "two rows"),
        ("structured-reference", 1, "two rows"),
        ("structured-reference", 5, "two halves of the same size"),
        ("structured", 5, None),
        ("structured-reference", 4, None),
        ("generative", 1, None),
    ],
)
def test_images_that_cannot_be_halved(task, height, said) -> None:
    _, faults = observation(_dataset("levels", height=height), {"task": task})
    assert [fault.field for fault in faults] == (["task"] if said else [])
    assert said is None or said in faults[0].message


def test_a_density_of_levels_is_warned_of() -> None:
    expected = "only the smallest allowed scale limits"
    assert expected in str(observation_warning(_dataset("levels"), LikelihoodName.GAUSSIAN))
    assert observation_warning(_dataset("levels"), LikelihoodName.DISCRETISED_LOGISTIC) is None


def test_values_that_never_vary_are_warned_of() -> None:
    """What one of them can add is the density of a Gaussian at its centre, at the floor of 0.01 units."""
    real = _dataset("real")
    assert "12 of 12 values never vary" in str(observation_warning(real, LikelihoodName.GAUSSIAN))
    train = real.splits[Split.TRAIN].copy()
    train[0] = 1.0
    train[0, 7] = 0.0
    splits = {**real.splits, Split.TRAIN: train}
    one = Dataset.build(
        name="toy",
        kind=DataKind.REAL,
        height=4,
        width=3,
        levels=1,
        splits=splits,
        split_convention="g",
        source="s",
    )
    said = str(observation_warning(one, LikelihoodName.GAUSSIAN))
    assert "1 of 12 values never vary in the training split (numbers 7)" in said
    assert "3.7 nats" in said
    assert -np.log(SCALE_FLOOR * np.sqrt(2 * np.pi)) == pytest.approx(3.7, abs=0.05)
    train[0, 7] = 1.0
    assert observation_warning(Dataset.build(**{**_fields(one), "splits": splits}), LikelihoodName.GAUSSIAN) is None


def _fields(dataset: Dataset) -> dict:
    return {name: getattr(dataset, name) for name in Draft.__dataclass_fields__}
