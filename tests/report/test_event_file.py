"""A run's metrics as events: names and rows, without TensorBoard."""

import math

import numpy as np
import pytest

from dregcli.report.event_file import hyperparameters, png_size, rows, tag_of


@pytest.mark.parametrize(
    ("column", "split", "tag"),
    [
        ("bound", "train", "log_p_hat/train"),
        ("bound", "valid", "log_p_hat/valid"),
        ("ess", "train", "ess/train"),
        ("dreg.posterior_variance", "train", "inference_grad_variance/dreg"),
        ("dreg-alpha:alpha=0.9.model_variance", "train", "model_grad_variance/dreg-alpha:alpha=0.9"),
        ("stl.posterior_snr", "train", "inference_grad_snr/stl"),
        ("stl.posterior_snr_window", "train", "inference_grad_snr_window/stl"),
        ("tracked_window", "train", "tracked_window/train"),
    ],
)
def test_names_are_those_of_the_reference_where_it_has_them(column: str, split: str, tag: str) -> None:
    assert tag_of(column, split) == tag


def test_rows_are_by_step_with_their_seconds() -> None:
    metrics = {
        "train": {"step": np.array([10, 20]), "bound": np.array([-1.0, -2.0]), "seconds": np.array([1.0, 3.0])},
        "valid": {"step": np.array([15, 40]), "bound": np.array([-3.0, -4.0])},
    }
    found = rows(metrics, {"valid": -9.0, "test": -5.0}, 40)
    assert [(row.step, row.seconds) for row in found[:3]] == [(10, 1.0), (15, 2.0), (20, 3.0)]
    assert [(row.step, dict(row.values)) for row in found[3:]] == [
        (40, {"log_p_hat/valid": -4.0}),
        (40, {"log_p_hat/test": -5.0}),
    ], "a bound that the metrics have is not told twice"
    assert math.isnan(found[-1].seconds)


def test_nan_is_kept_where_it_happened_and_not_where_nothing_was() -> None:
    nan = math.nan
    columns = {"step": np.array([1, 2, 3]), "bound": np.array([-1.0, nan, -2.0]), "ess": np.array([2.0, nan, nan])}
    first, second, third = rows({"train": columns}, {}, 3)
    assert dict(first.values) == {"log_p_hat/train": -1.0, "ess/train": 2.0}
    assert [math.isnan(second.values[tag]) for tag in ("log_p_hat/train", "ess/train")] == [True, True]
    assert dict(third.values) == {"log_p_hat/train": -2.0}


def test_a_spec_as_hyperparameters() -> None:
    spec = {"k": 64, "lr": 0.1, "hidden": [200, 200], "parent": {"run": "x/v001", "reset": True}, "chunk": None}
    expected = {"k": 64, "lr": 0.1, "hidden": "200,200", "parent.run": "x/v001", "parent.reset": True}
    assert hyperparameters(spec) == expected


def test_the_size_of_a_picture() -> None:
    assert png_size(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\0\0\x10" + b"\0\0\0\x08") == (16, 8)
