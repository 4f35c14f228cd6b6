"""The digits, but few of them, for training whose assertions do not depend on how many there are."""

from dataclasses import replace
from typing import Any

import pytest

from dregcli.app.planning import load_data
from dregcli.data.dataset import Dataset

COUNT = 48


def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is trained and evaluated in this process has so many examples a split; the names stay as they are."""
    load = load_data.load_dataset

    def few(*arguments: Any) -> Dataset:
        dataset = load(*arguments)
        return replace(dataset, splits={split: images[:COUNT] for split, images in dataset.splits.items()})

    monkeypatch.setattr(load_data, "load_dataset", few)
