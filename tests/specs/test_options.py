"""Settings are named once: what the command line, a config file and a spec have of them."""

import json

import pytest

from dregcli.cli.lazy import CommandByName
from dregcli.cli.tree import COMMANDS
from dregcli.data.catalogue import DATASETS, conventions_of
from dregcli.names import CONVENTIONS
from dregcli.specs.options import SAME_MEANING, RunOptions, Settings, described, fields_in_order
from dregcli.specs.resolve import TYPED_ONLY, merge_options, read_options
from dregcli.specs.run import RunSpec
from dregcli.specs.schema import schema_of
from dregcli.specs.shown import Panel

CONFIG_ONLY = {"model_digest", "model_before", "data_checksum", "parent", "spec_version"}


def test_a_resolved_run_has_the_settings_of_a_request_and_no_others() -> None:
    asked, resolved = set(RunOptions.model_fields), set(RunSpec.model_fields)
    assert asked - resolved == {"epochs", "seeds"}
    assert resolved <= asked
    assert set(Settings.model_fields) == resolved - {"spec_version"}


@pytest.mark.parametrize("field", RunOptions.model_fields)
def test_every_setting_says_what_it_is(field: str) -> None:
    text, shown = described(field)
    assert text.endswith(".")
    assert (shown is None) == (field in CONFIG_ONLY)
    assert shown is None or shown.panel in Panel


def test_a_value_with_a_fault_is_replaced_and_all_faults_are_found() -> None:
    read, faults = read_options({"k": 0, "lr": "fast", "hidden": [3, 0], "latent_dm": 2, "seed": 4})
    assert {fault.field for fault in faults} == {"k", "lr", "hidden", "latent-dm"}
    assert (read.k, read.lr, read.hidden, read.seed) == (64, 1e-3, None, 4)
    assert "Did you mean 'latent-dim'?" in next(fault.message for fault in faults if fault.field == "latent-dm")


def test_nothing_passes_for_something_else() -> None:
    for field, value in {"k": True, "steps": "5", "lr": "0.1", "seed": 1.0, "epochs": 2.5, "device": "gpu"}.items():
        _, faults = read_options({field: value})
        assert [fault.field for fault in faults] == [field]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("seeds", 5, 'must be a text such as "0-4" or "0,2,5-7", got 5.'),
        ("seeds", [0, 1], 'must be a text such as "0-4" or "0,2,5-7", got [0, 1].'),
        (
            "hidden",
            "200,200",
            "must be layer sizes such as 200,200 or 200,200/100,100, in a file [200, 200] or "
            "[[200, 200], [100, 100]], got '200,200'.",
        ),
        ("parent", 3, "must be a table of values by name, got 3."),
        ("spec_version", 2, "must be 1, got 2: if a newer dreg wrote this file, use it with that dreg."),
    ],
)
def test_a_value_of_the_wrong_form_is_refused_with_the_right_form(field: str, value: object, message: str) -> None:
    _, (fault,) = read_options({field: value})
    assert (fault.field, fault.message) == (field.replace("_", "-"), message)


def test_a_preset_may_be_a_file(tmp_path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('k = 8\nlr = 0.01\nestimator = "stl"\n')
    options, faults = merge_options({"k": 4}, {"lr": 0.02}, str(file))
    assert (options.k, options.lr, options.estimator, faults) == (4, 0.02, "stl", [])
    _, (fault,) = merge_options({}, {}, "papr")
    assert "Did you mean 'paper'?" in fault.message
    assert "TOML file" in fault.message


@pytest.mark.parametrize("config", [False, True])
def test_a_schema_describes_every_field(config: bool) -> None:
    schema = schema_of(config=config)
    kind = RunOptions if config else RunSpec
    assert set(schema["properties"]) == set(kind.model_fields)
    assert all(entry["description"] for entry in schema["properties"].values())
    required = {"dataset", "data_checksum", "split_convention", "steps"}
    assert set(schema.get("required", [])) == (set() if config else required)
    assert schema["additionalProperties"] is False
    several = {field for field, entry in schema["properties"].items() if '"minItems": 1' in json.dumps(entry)}
    assert several >= ({"k", "lr", "estimator", "hidden", "model", "model_options"} if config else set())
    assert not several & {"seed", "seeds", "threads", "log_every", "track_estimators", "parent"}
    assert bool(several) == config
    words = {field for field, entry in schema["properties"].items() if "auto" in json.dumps(entry)}
    assert words == (
        {"device", "threads", "backward", "k_chunk", "compile", "eval_every", "prior_gradient"} if config else set()
    )


def test_what_can_only_be_typed_is_refused_in_a_file_with_the_way_to_type_it() -> None:
    command = CommandByName("train", COMMANDS["train"]).load()
    typed = {name.removeprefix("--").replace("-", "_") for each in command.params for name in each.opts}
    assert set(TYPED_ONLY) == typed - {"model_option", "help"} - set(RunOptions.model_fields)
    for field in TYPED_ONLY:
        _, (fault,) = read_options({field: "x"})
        name = field.replace("_", "-")
        assert str(fault.message) == f"cannot be set in a file: type --{name} on the command line."


def test_options_with_one_meaning_stand_together_in_the_help() -> None:
    fields = fields_in_order()
    assert {*fields, "spec_version"} == set(RunOptions.model_fields)
    for one, other in SAME_MEANING:
        assert fields.index(other) == fields.index(one) + 1


def test_every_named_split_is_published_for_a_data_set(tmp_path) -> None:
    published = {word for name in DATASETS for word in conventions_of(name, tmp_path)}
    assert set(CONVENTIONS) == published


def test_a_change_of_k_drops_the_chunk_of_a_file_that_states_both() -> None:
    file = {"k": 64, "k_chunk": 64, "threads": 2}
    assert merge_options({}, file, None)[0].k_chunk == 64
    assert merge_options({"k": 32}, file, None)[0].k_chunk == "auto"
    assert merge_options({"k": 32, "k_chunk": 16}, file, None)[0].k_chunk == 16


def test_a_runs_spec_means_the_same_as_a_preset_and_as_a_config() -> None:
    spec = {"spec_version": 1, "dataset": "digits", "data_checksum": "c", "split_convention": "dreg", "steps": 7}
    as_config, as_preset = merge_options({}, spec, None)[0], merge_options({}, {}, spec)[0]
    assert as_config == as_preset
    assert (as_preset.backward, as_preset.compile) == ("dense", "off"), "what a spec leaves out is its default"


@pytest.mark.parametrize(
    ("field", "value"),
    [("threads", 4097), ("threads", 2**40), ("latent_dim", 10**20), ("k", 2**31), ("steps", 2**60)],
)
def test_numbers_that_nothing_can_hold(field: str, value: int) -> None:
    _, faults = read_options({field: value})
    assert [fault.field for fault in faults] == [field.replace("_", "-")]
