"""Which settings a model has: sizes by layer, words of posteriors, and hashes that stay as they were."""

import re
from typing import Any

import pytest

from dregcli.errors import Fault
from dregcli.names import ModelName
from dregcli.posteriors import parse_posterior
from dregcli.specs.layers import layer_sizes_of
from dregcli.specs.models import OF_MODELS, PROGRAMS, SETTINGS
from dregcli.specs.resolve import merge_options, spec_faults
from dregcli.specs.run import RunSpec, as_json, group_hash, spelt_out
from dregcli.specs.shown import layer_sizes, number_or_numbers

PLAIN = {
    "spec_version": 1,
    "dataset": "digits",
    "data_checksum": "c",
    "split_convention": "dreg",
    "steps": 7,
}
LAYERS = {"model": "hierarchical", "hidden": [[9, 8], [7]], "latent_dim": [4, 3]}
OLD = {
    "aefe81adc5f215fb": {},
    "9b6330ca2080bcf8": {"hidden": [9], "latent_dim": 3, "likelihood": "gaussian"},
    "14f2b27a5e0298d9": {"model": "linear-gaussian", "hidden": [], "latent_dim": 5, "likelihood": "gaussian"},
    "ad08d9999507b807": {"model": "conv", "model_options": {"latent_dim": 3}},
    "f7aded76df138c53": {"model": "m.py:A", "model_digest": "d"},
}
"""Specs as dreg wrote them before there were models of several layers, by the hash that they had."""


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"model": "hierarchical"}, "must be a list, with one entry for each stochastic layer of hierarchical"),
        ({"model": "sbn", "latent_dim": [5]}, "needs lists of hidden layers, with one entry for each"),
        ({"hidden": [[8], [6]]}, "vae has one stochastic layer"),
    ],
)
def test_usual_sizes_that_a_spec_leaves_out_must_fit_what_it_states(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        RunSpec.model_validate(PLAIN | given)


@pytest.mark.parametrize("hash_", OLD)
def test_old_specs_keep_their_hash_and_their_text(hash_: str) -> None:
    old = PLAIN | OLD[hash_]
    assert group_hash(old) == group_hash(spelt_out(old)) == hash_
    assert as_json(RunSpec.model_validate(old)) == old


def test_every_setting_counts_for_the_hash_and_a_default_is_not_written() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"posterior": "full"},
        {"posterior_order": "top-down"},
        {"top_prior": "learned"},
        {"latent_dim": [4, 4]},
        {"hidden": [[9, 8], [6]]},
    ]
    specs = [PLAIN | LAYERS | change for change in changes]
    assert len({group_hash(spec) for spec in specs}) == len(specs)
    usual = {"posterior": "diagonal", "posterior_order": "bottom-up", "top_prior": "standard"}
    for spec in specs:
        assert as_json(RunSpec.model_validate(usual | spec)) == spec
    assert group_hash(PLAIN | {"posterior": "full"}) != group_hash(PLAIN)


def test_the_settings_of_every_model_are_those_of_the_table() -> None:
    """A spec that lacks one of them, or has one too many, is refused; the usual values are a valid spec."""
    for word in (*ModelName, *PROGRAMS):
        settings = SETTINGS.get(word, {})
        spec = RunSpec.model_validate(PLAIN | {"model": word, **settings, "likelihood": _likelihood(settings)})
        assert {name for name in OF_MODELS if getattr(spec, name) is not None} == set(settings)
        for name in OF_MODELS:
            changed = spec.model_dump() | {name: None if name in settings else getattr(_ANY, name)}
            assert name.replace("_", "-") in {fault.field for fault in spec_faults(changed)}


def _likelihood(settings: Any) -> str | None:
    return "bernoulli" if "likelihood" in settings else None


_ANY = RunSpec.model_validate(PLAIN | LAYERS)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("200,200", (200, 200)), ("9", (9,)), ("9,8/7", ((9, 8), (7,))), ("9//7", "9//7"), ("9,/7", "9,/7"), ("", "")],
)
def test_typed_sizes(text: str, sizes: object) -> None:
    assert layer_sizes(text) == sizes


def test_typed_latent_dimensions() -> None:
    assert [number_or_numbers(text) for text in ("50", "4,3", "4,", "a")] == [50, (4, 3), "4,", "a"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ((None, None), ((100, 50), ((200, 200), (100, 100)))),
        ((4, None), ((4,), ((200, 200),))),
        (((4, 3, 2), None), ((4, 3, 2), ((200, 200), (100, 100), (100, 100)))),
        ((4, (9, 8)), ((4,), ((9, 8),))),
        (((4, 3), ((9,), (8,))), ((4, 3), ((9,), (8,)))),
    ],
)
def test_sizes_by_layer(given: Any, found: object) -> None:
    assert layer_sizes_of("hierarchical", *given) == (*found, [])  # pyright: ignore[reportGeneralTypeIssues]


def test_a_model_whose_layers_need_no_hidden_ones(monkeypatch) -> None:
    monkeypatch.setitem(SETTINGS, "bits", {"hidden": (), "latent_dim": (6, 5)})  # pyright: ignore[reportArgumentType]
    assert layer_sizes_of("bits", None, None) == ((6, 5), (), [])
    assert layer_sizes_of("bits", (6, 5, 4), ()) == ((6, 5, 4), (), [])
    assert layer_sizes_of("bits", 6, (9, 9)) == ((6,), ((9, 9),), [])
    assert _fields(layer_sizes_of("bits", (6, 5), (9, 9))[2]) == ["hidden"]
    spec = PLAIN | {"model": "bits", "latent_dim": [6, 5], "hidden": []}
    assert as_json(RunSpec.model_validate(spec)) == spec


@pytest.mark.parametrize(
    ("model", "latents", "hidden", "message"),
    [
        ("hierarchical", (100, 50), (200, 200), "--latent-dim 100,50 has 2, but --hidden 200,200 has 1. Separate"),
        ("hierarchical", None, ((9,), (8,), (7,)), "--latent-dim 100,50 has 2, but --hidden 9/8/7 has 3."),
        ("hierarchical", (4, 3), ((9,), ()), "but z2 has none."),
        ("hierarchical", 4, (), "but z1 has none."),
        ("hierarchical", (), None, "must have a number for each stochastic layer"),
        ("vae", (100, 50), None, "vae has one stochastic layer: give one number, got 100,50. --model hierarchical"),
        ("vae", None, ((9,), (8,)), "vae has one stochastic layer: leave the slash out, got 9/8."),
    ],
)
def test_sizes_that_cannot_be(model: str, latents: Any, hidden: Any, message: str) -> None:
    *_, (fault,) = layer_sizes_of(model, latents, hidden)
    assert message in fault.message


def test_a_stronger_layer_with_another_model_drops_sizes_of_another_form() -> None:
    flat = {"hidden": [9], "latent_dim": 3}
    options, faults = merge_options({"model": "hierarchical"}, {"model": "vae", **flat}, None)
    assert (options.hidden, options.latent_dim, faults) == (None, None, [])
    options, _ = merge_options({"model": "hierarchical"}, flat, None)
    assert (options.hidden, options.latent_dim) == ((9,), 3), "a file that names no model means any"
    options, _ = merge_options({"model": "conv"}, {"model_options": {"a": 1}}, "paper")
    assert (options.model_options, options.hidden) == ({"a": 1}, None), "the preset is about its own model"
    options, _ = merge_options({"model": "conv"}, {"model": "x.py:X", "model_options": {"a": 1}}, None)
    assert options.model_options == {}
    options, faults = merge_options({"model": "vae"}, LAYERS, None)
    assert (options.hidden, options.latent_dim, faults) == (None, None, [])
    options, faults = merge_options({"latent_dim": (5, 4)}, LAYERS, None)
    assert (options.hidden, options.latent_dim, faults) == (((9, 8), (7,)), (5, 4), [])


@pytest.mark.parametrize("word", ["diagonal", "full", "flow:maf", "flow:nsf,layers=2"])
def test_words_of_posteriors(word: str) -> None:
    assert parse_posterior(word).word == word
    assert parse_posterior("flow:maf,layers=1").word == "flow:maf"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fulll", "must be diagonal, full, flow:maf or flow:nsf, with flow:maf,layers=2 for two transforms, got"),
        ("flow", "got 'flow'."),
        ("flow:mav", "Did you mean 'flow:maf'?"),
        ("maf", "Did you mean 'flow:maf'?"),
        ("flwo:nsf,layers=2", "Did you mean 'flow:nsf,layers=2'?"),
        ("full:layers=2", "'full' takes no parameters, got 'full:layers=2'."),
        ("flow:maf,layers=0", "from 1 to 100, as in flow:maf,layers=2, got 'flow:maf,layers=0'."),
        ("flow:maf,depth=2", "a flow takes layers=N"),
    ],
)  # fmt: skip
def test_words_that_are_no_posterior(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_posterior(word)


def _fields(faults: list[Fault]) -> list[str]:
    return [fault.field for fault in faults]
