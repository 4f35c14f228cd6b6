import pytest

from dregcli.describe import described, experiment_in_words, seen_as

BASE = {"dataset": "mnist", "task": "generative", "split_convention": "dreg", "binarisation": "dynamic"}
BASE |= {"likelihood": "bernoulli"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "mnist (dreg split, dynamic binarisation)"),
        (
            {"task": "structured", "split_convention": "burda"},
            "mnist, bottom half given top half (burda split, dynamic binarisation)",
        ),
        ({"binarisation": "none", "likelihood": "gaussian"}, "mnist (dreg split, gaussian likelihood)"),
        # A report reads specs of dregs to come, whose words it does not know.
        ({"task": "t", "likelihood": "beta"}, "mnist (dreg split, dynamic binarisation, beta likelihood)"),
    ],
)
def test_words(changes, text) -> None:
    assert described({**BASE, **changes}) == text


def test_what_two_bounds_must_share() -> None:
    assert seen_as(BASE) == seen_as({**BASE, "split_convention": "burda"})
    for changes in ({"task": "structured"}, {"binarisation": "none"}, {"likelihood": "gaussian"}):
        assert seen_as({**BASE, **changes}) != seen_as(BASE)


@pytest.mark.parametrize(
    ("reset", "ending"), [(False, "on the model of p/v001 step 20"), (True, ", encoder from new initial parameters")]
)
def test_an_experiment_names_its_parent_and_whether_the_encoder_is_new(reset: bool, ending: str) -> None:
    spec = {**BASE, "objective": "iwae", "estimator": "dreg", "k": 8, "batch_size": 32, "lr": 1e-3, "steps": 5}
    parent = {"run": "p/v001", "checkpoint": 20, "reset_encoder": reset}
    alone, child = (experiment_in_words({**spec, "parent": each}) for each in (None, parent))
    assert child.startswith(f"{alone}, encoder on the model of p/v001 step 20")
    assert child.endswith(ending)
