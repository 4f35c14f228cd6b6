import pytest
from hypothesis import given
from hypothesis import strategies as st

from dregcli.names import Binarisation
from dregcli.specs.binarisation import BinarisationRule, parse_binarisation
from dregcli.specs.run import RunSpec, as_json, group_hash


@pytest.mark.parametrize(
    ("word", "rule", "kept"),
    [
        ("dynamic", BinarisationRule(Binarisation.DYNAMIC), "dynamic"),
        ("none", BinarisationRule(Binarisation.NONE), "none"),
        ("static-seed:3", BinarisationRule(Binarisation.STATIC_SEED, seed=3), "static-seed:3"),
        ("static-seed 3", BinarisationRule(Binarisation.STATIC_SEED, seed=3), "static-seed:3"),
        ("static-seed=03", BinarisationRule(Binarisation.STATIC_SEED, seed=3), "static-seed:3"),
        ("threshold 0.50", BinarisationRule(Binarisation.THRESHOLD, threshold=0.5), "threshold:0.5"),
        ("threshold:-0", BinarisationRule(Binarisation.THRESHOLD, threshold=0.0), "threshold:0"),
        ("threshold:0", BinarisationRule(Binarisation.THRESHOLD, threshold=0.0), "threshold:0"),
    ],
)
def test_words(word, rule, kept) -> None:
    assert parse_binarisation(word) == rule
    assert rule.word == kept
    assert parse_binarisation(kept) == rule


@given(st.floats(min_value=0.0, max_value=1.0, exclude_max=True))
def test_every_threshold_survives_its_own_spelling(threshold: float) -> None:
    rule = BinarisationRule(Binarisation.THRESHOLD, threshold=threshold)
    assert parse_binarisation(rule.word) == rule


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("dynamc", "Did you mean 'dynamic'"),
        ("", "must be dynamic"),
        ("dynamic:3", "takes no value"),
        ("static-seed", "needs a seed"),
        ("static-seed:-1", "needs a seed"),
        ("static-seed:1.5", "needs a seed"),
        ("static-seed:9223372036854775808", "needs a seed"),
        ("threshold", "needs an intensity"),
        ("threshold:1", "needs an intensity"),
        ("threshold:nan", "needs an intensity"),
        ("threshold:half", "needs an intensity"),
    ],
)
def test_refusals(word, said) -> None:
    with pytest.raises(ValueError, match=said):
        parse_binarisation(word)


def _spec(**changes) -> RunSpec:
    return RunSpec(dataset="mnist", data_checksum="c", split_convention="dreg", steps=10, **changes)


def test_one_setting_has_one_group_however_it_is_spelt() -> None:
    groups = {group_hash(as_json(_spec(binarisation=word))) for word in ("static-seed 3", "static-seed:03")}
    assert len(groups) == 1
    assert group_hash(as_json(_spec())) not in groups


def test_what_equals_its_default_is_left_out() -> None:
    assert not {"likelihood", "task", "binarisation"} & set(as_json(_spec()))
    assert as_json(_spec(likelihood="gaussian"))["likelihood"] == "gaussian"
    assert RunSpec.model_validate(as_json(_spec(likelihood="gaussian"))).likelihood == "gaussian"
