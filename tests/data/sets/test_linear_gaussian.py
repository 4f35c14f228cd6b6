import numpy as np
import pytest
from scipy.stats import multivariate_normal

from dregcli.data.sets.linear_gaussian import load_linear_gaussian, truth
from dregcli.names import DataKind, Split


@pytest.fixture(scope="module")
def dataset():
    return load_linear_gaussian()


def test_is_the_same_everywhere(dataset):
    # Golden: drawn once with numpy 2.4.6. A change breaks every stored run.
    assert dataset.checksum == "a15d74312608cd63ccf6ad635cd4b81dfbc63026f78a327b536bd492f8c0493e"
    assert {split: rows.shape for split, rows in dataset.splits.items()} == {
        "train": (5_000, 20),
        "valid": (1_000, 20),
        "test": (1_000, 20),
    }
    assert (dataset.kind, dataset.height, dataset.width, dataset.levels) == (DataKind.REAL, 4, 5, 1)
    # On the grid: the last bits of another machine's logarithm cannot show.
    for rows in dataset.splits.values():
        np.testing.assert_array_equal(rows * 2.0**16, np.rint(rows * 2.0**16))


def test_columns_are_orthogonal_and_of_different_lengths():
    weight = truth().weight
    assert weight.shape == (20, 5)
    products = weight.T @ weight
    np.testing.assert_array_equal(products - np.diag(np.diag(products)), 0)
    assert len(set(np.diag(products))) == 5


def test_log_marginal_is_exact(dataset):
    model, x = truth(), dataset.splits[Split.TEST].astype(np.float64)
    theirs = multivariate_normal(model.bias, model.weight @ model.weight.T + model.noise**2 * np.eye(20))
    np.testing.assert_allclose(model.log_marginal(x), theirs.logpdf(x), rtol=0, atol=1e-10)
    assert model.log_marginal(dataset.splits[Split.TEST]).dtype == np.float64


def test_posterior_is_exact(dataset):
    """log p(x) = log p(z) + log p(x given z) - log p(z given x), whatever z is."""
    model, x = truth(), dataset.splits[Split.VALID][:50].astype(np.float64)
    mean, deviation = model.posterior(x)
    z = mean + deviation * np.random.RandomState(1).standard_normal(mean.shape)

    def log_normal(values, centre, scale):
        return (-0.5 * ((values - centre) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)).sum(axis=1)

    joint = log_normal(z, 0.0, np.ones(5)) + log_normal(x, z @ model.weight.T + model.bias, np.full(20, model.noise))
    np.testing.assert_allclose(joint - log_normal(z, mean, deviation), model.log_marginal(x), atol=1e-10)


def test_the_data_are_drawn_from_it(dataset):
    model, x = truth(), dataset.splits[Split.TRAIN].astype(np.float64)
    covariance = model.weight @ model.weight.T + model.noise**2 * np.eye(20)
    # Entries of a sample covariance of 5,000 have deviations below 1.5 * sqrt(2 / 5000) = .03 here.
    assert np.abs(np.cov(x.T) - covariance).max() < 0.15
    assert np.abs(x.mean(axis=0) - model.bias).max() < 5 * np.sqrt(covariance.max() / 5_000)


def test_provenance_states_the_mean_of_each_split(dataset):
    model = truth()
    assert dataset.provenance["mean_log_marginal_nats"] == {
        split.value: pytest.approx(model.log_marginal(rows).mean(), abs=1e-6)
        for split, rows in dataset.splits.items()
    }
    # The negative entropy of the model: what the mean of ever more draws goes to.
    covariance = model.weight @ model.weight.T + model.noise**2 * np.eye(20)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1]
    # log p(x) of a Gaussian has deviation sqrt(20 / 2).
    assert dataset.provenance["mean_log_marginal_nats"]["train"] == pytest.approx(-entropy, abs=5 * np.sqrt(10 / 5e3))
