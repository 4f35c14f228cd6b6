"""How gradients are computed, in a spec: what cannot be, what old specs are, and what makes no other experiment."""

import pytest

from dregcli.errors import Fault
from dregcli.names import Backward, Precision
from dregcli.specs import run
from dregcli.specs.execution import ExecutionSpec
from dregcli.specs.resolve import merge_options, setting_faults, spec_faults
from dregcli.specs.run import RunSpec, as_json, defaults_of, group_hash, numbers_of, spelt_out

PLAIN = {
    "spec_version": 1,
    "dataset": "digits",
    "data_checksum": "4ab5",
    "split_convention": "dreg",
    "steps": 2000,
}
"""A run in which everything else is as it is by default, as it is written."""

SCREENED = PLAIN | {"backward": "screened", "screen_inflation": 0.2, "screen_precision": "float32"}


def test_what_equals_its_default_is_not_written() -> None:
    spec = RunSpec.model_validate(PLAIN)
    assert as_json(spec) == PLAIN
    assert (spec.backward, spec.screen_inflation, spec.screen_precision) == (Backward.DENSE, None, None)
    assert (spec.k_chunk, spec.compile, spec.track_estimators) == (None, "off", ())
    whole = spelt_out(PLAIN)
    assert whole == spec.model_dump(mode="json")
    assert as_json(RunSpec.model_validate(whole)) == PLAIN


def test_a_field_that_is_added_later_changes_no_hash(monkeypatch) -> None:
    """The hash of today, and of a version with one more field: of a run that leaves it at its default."""

    class Later(RunSpec, frozen=True):
        momentum: float = 0.0

    assert group_hash(PLAIN) == group_hash(spelt_out(PLAIN)) == "fe5363913f853722"
    monkeypatch.setattr(run, "_DEFAULTS", defaults_of(Later))
    assert group_hash(as_json(Later.model_validate(PLAIN))) == "fe5363913f853722"
    assert group_hash(as_json(Later.model_validate(PLAIN | {"momentum": 0.9}))) != "fe5363913f853722"


def test_a_spec_survives_its_json() -> None:
    content = SCREENED | {"k_chunk": 16, "compile": "on", "track_estimators": ["stl", "rws/dreg"]}
    spec = RunSpec.model_validate(content)
    assert as_json(spec) == content
    assert spec.screen_precision is Precision.FLOAT32


@pytest.mark.parametrize(
    "change",
    [
        {"k_chunk": 16},
        {"compile": "on"},
        {"threads": 3},
        {"seed": 5},
        {"track_estimators": ["stl"]},
        {"log_every": 25},
        {"eval_every": 7},
        {"final_eval": "none"},
        {"checkpoint_every": 0},
        {"keep_last": 9},
        {"capture": "none"},
        {"device": "cpu"},  # the default
    ],
)
def test_what_makes_no_other_experiment(change) -> None:
    assert group_hash(SCREENED | change) == group_hash(SCREENED)


@pytest.mark.parametrize(
    "change",
    [
        {"backward": "dense", "screen_inflation": None, "screen_precision": None},
        {"screen_inflation": 0.3},
        {"screen_precision": "bfloat16"},
        {"k": 65},
        {"eval_seed": 1},
        {"device": "cuda"},
        {"lr": 0.01},
    ],
)
def test_what_makes_another_experiment(change) -> None:
    assert group_hash(SCREENED | change) != group_hash(SCREENED)


def test_the_number_of_a_gpu_says_where_and_not_what() -> None:
    hashes = [group_hash(SCREENED | {"device": word}) for word in ("cuda", "cuda:0", "cuda:7", "mps", "cpu")]
    assert [hashes.count(each) for each in hashes] == [3, 3, 3, 1, 1]


def test_the_seed_is_more_than_rounding() -> None:
    assert numbers_of(SCREENED | {"k_chunk": 16, "compile": "on"}) == numbers_of(SCREENED)
    assert numbers_of(SCREENED | {"seed": 1}) != numbers_of(SCREENED)


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({"k_chunk": 80}, ["k-chunk: must be at most k, which is 64, got 80."]),
        ({"k_chunk": 24}, ["k-chunk: must be a multiple of 16, or k itself, which is 64, got 24."]),
        ({"k": 40, "k_chunk": 40}, []),
        ({"k": 40, "k_chunk": 32}, []),
        ({"k_chunk": 64}, []),
        ({"screen_inflation": 0}, ["screen-inflation: must be greater than 0.0, got 0."]),
        ({"screen_inflation": 1.0}, []),
        ({"screen_inflation": 1.01}, ["screen-inflation: must be at most 1.0, got 1.01."]),
        ({"screen_inflation": float("nan")}, ["screen-inflation: must be a finite number, got nan."]),
        ({"screen_inflation": None}, ["screen-inflation: is missing: a screened run needs it."]),
        (
            {"screen_precision": "bfloat"},
            [
                "screen-precision: must be one of 'float32', 'bfloat16' or 'linearised', got 'bfloat'. "
                "Did you mean 'bfloat16'?"
            ],
        ),
        ({"backward": "sparse"}, ["backward: must be one of 'dense' or 'screened', got 'sparse'."]),
        (
            {"backward": "dense"},
            [f"screen-{each}: only applies with --backward screened." for each in ("inflation", "precision")],
        ),
        (
            {"backward": "screend", "screen_inflation": -1, "k_chunk": 100, "k": 80},
            [
                "k-chunk: must be at most k, which is 80, got 100.",
                "backward: must be one of 'dense' or 'screened', got 'screend'. Did you mean 'screened'?",
                "screen-inflation: must be greater than 0.0, got -1.",
            ],
        ),
    ],
)
def test_what_cannot_be_is_told_all_at_once(change, faults) -> None:
    assert sorted(map(str, spec_faults(SCREENED | change))) == sorted(faults)
    own = {key: value for key, value in (SCREENED | change).items() if key in ExecutionSpec.model_fields}
    assert sorted(map(str, spec_faults(own, ExecutionSpec))) == sorted(faults), (
        "the same rules wherever they are asked"
    )


@pytest.mark.parametrize("chunk", [0, -16, 16.0, "16", "aut", True, [16]])
def test_what_is_no_chunk(chunk) -> None:
    near = " Did you mean 'auto'?" if chunk == "aut" else ""
    message = f"must be a positive whole number or auto, got {chunk!r}.{near}"
    assert setting_faults(k_chunk=chunk) == [Fault("k-chunk", message)]


def test_words_for_compile() -> None:
    assert [setting_faults(compile=word) for word in ("auto", "on", "off")] == [[], [], []]
    (fault,) = setting_faults(compile="autp")
    assert str(fault) == "compile: must be auto, on or off, got 'autp'. Did you mean 'auto'?"
    assert setting_faults(compile=True), "a config's true is not the word on"


def test_defaults_leave_the_rest_to_be_decided() -> None:
    options, _ = merge_options({}, {}, None)
    assert (options.backward, options.k_chunk, options.compile) == ("auto", "auto", "auto")
    assert options.screen_inflation is None


def test_another_backward_takes_the_screening_of_a_weaker_layer_along() -> None:
    config = {"backward": "screened", "screen_inflation": 0.4, "screen_precision": "bfloat16"}
    dense, _ = merge_options({"backward": "dense"}, config, None)
    assert (dense.screen_inflation, dense.screen_precision) == (None, None)
    same, _ = merge_options({"backward": "screened"}, config, None)
    assert same.screen_inflation == 0.4
    for below in (None, {"backward": "dense"}, {"backward": "dense", "screen_inflation": 0.9}):
        alone, _ = merge_options({"backward": "screened"}, {"screen_inflation": 0.01}, below)
        assert alone.screen_inflation == 0.01, "the file leaves open for which backward"
    both, _ = merge_options({"backward": "dense", "screen_inflation": 0.1}, config, None)
    assert both.screen_inflation == 0.1, "a contradiction within one layer stays to be told"


def test_a_spec_as_config_repeats_what_was_decided_and_another_run_decides_anew() -> None:
    decided = SCREENED | {"k_chunk": 32, "compile": "on"}
    for flags in ({}, {"seed": 3}, {"k": 64}):
        options, _ = merge_options(flags, decided, None)
        assert (options.k_chunk, options.compile) == (32, "on"), flags
    for flags in ({"k": 16}, {"steps": 10**6}, {"batch_size": 4096}):
        options, _ = merge_options(flags, decided, None)
        assert (options.k_chunk, options.compile) == ("auto", "auto"), flags
    asked, _ = merge_options({"k": 1024, "k_chunk": 64}, decided, None)
    assert asked.k_chunk == 64
    whole, _ = merge_options({}, SCREENED, None)
    assert (whole.k_chunk, whole.compile) == (None, "off"), "what a spec leaves out is not left open"
    own, _ = merge_options({"k": 128}, {"k_chunk": 32}, None)
    assert own.k_chunk == 32, "a file of options is obeyed"


def test_the_rule_of_defaults_holds_inside_a_parent_too() -> None:
    parent = {"run": "p/v001", "checkpoint": 3, "model_sha256": "ab"}
    lean, full = PLAIN | {"parent": parent}, PLAIN | {"parent": {**parent, "reset_encoder": False}}
    assert as_json(RunSpec.model_validate(full)) == lean
    assert spelt_out(lean)["parent"] == full["parent"]
    assert group_hash(lean) == group_hash(full)
    assert group_hash(PLAIN | {"parent": {**parent, "reset_encoder": True}}) != group_hash(lean)
