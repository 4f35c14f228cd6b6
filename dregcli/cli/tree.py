"""Every command of the program: the words that the user types, and the place in the source."""

from typing import Any, Final

from dregcli.cli.lazy import CommandByName, CommandGroup, Place

COMMANDS: Final = {
    "download": Place("datasets.download", "download"),
    "estimators": Place("diagnosis.estimators", "estimators"),
    "check-model": Place("diagnosis.check_model", "check_model"),
    "train": Place("training.train", "train"),
    "finetune-encoder": Place("training.finetune", "finetune_encoder"),
    "bias-check": Place("diagnosis.bias_check", "bias_check"),
    "variance": Place("diagnosis.variance", "variance"),
    "advise": Place("diagnosis.advise", "advise"),
    "eval": Place("evaluation.evaluate", "evaluate"),
    "sample": Place("sampling.sample", "sample"),
    "report": Place("reporting.report", "report"),
    "paper list": Place("papers.list_", "list_"),
    "paper show": Place("papers.show", "show"),
    "paper run": Place("papers.run", "run"),
    "paper export": Place("papers.export", "export"),
    "data list": Place("datasets.data", "list_", "LIST_EXAMPLES"),
    "data show": Place("datasets.data", "show", "SHOW_EXAMPLES"),
    "data import": Place("datasets.import_", "import_"),
    "data verify": Place("datasets.data", "verify", "VERIFY_EXAMPLES"),
    "data rm": Place("datasets.data", "rm", "RM_EXAMPLES"),
    "runs list": Place("runs.list_", "list_"),
    "runs show": Place("runs.show", "show"),
    "runs diff": Place("runs.diff", "diff"),
    "runs tag": Place("runs.label", "tag", "TAG_EXAMPLES"),
    "runs note": Place("runs.label", "note", "NOTE_EXAMPLES"),
    "runs verify": Place("runs.verify", "verify"),
    "runs rm": Place("runs.remove", "rm", "RM_EXAMPLES"),
    "runs gc": Place("runs.remove", "gc", "GC_EXAMPLES"),
    "runs export": Place("runs.carry", "export", "EXPORT_EXAMPLES"),
    "runs import": Place("runs.carry", "import_", "IMPORT_EXAMPLES"),
    "runs rerun": Place("runs.rerun", "rerun"),
    "runs doctor": Place("runs.doctor", "doctor"),
    "spec schema": Place("spec", "schema"),
}

_GROUPS: Final = {
    "paper": (
        "Repeat published experiments: list, show, run, export; with the published numbers beside ours.",
        "Repeat a figure in a minute:  [bold]dreg paper run tucker2018-toy --scale 0.05[/bold]",
    ),
    "data": (
        "Manage the data sets on this machine: list, show, import, verify, remove.",
        "Import your own data:  [bold]dreg data import images.npy --name mine[/bold]",
    ),
    "runs": (
        "Manage the runs of a store: list, compare, label, verify, move, remove, repeat.",
        "See all runs:  [bold]dreg runs list[/bold]",
    ),
    "spec": (
        "Describe the settings of a run for other programs.",
        "Check a config file in an editor:  [bold]dreg spec schema --config > dreg.schema.json[/bold]",
    ),
}
"""Groups of commands: the help of each group, and the example below it."""


def commands() -> dict[str, CommandByName | CommandGroup]:
    """Return the commands of the program and then its groups, by name; no command is imported."""
    inside: dict[str, dict[str, Any]] = {name: {} for name in ("", *_GROUPS)}
    for typed, place in COMMANDS.items():
        within, _, name = typed.rpartition(" ")
        inside[within][name] = CommandByName(typed, place)
    for name, (help_, epilog) in _GROUPS.items():
        inside[""][name] = CommandGroup(
            name=name, commands=inside[name], help=help_, epilog=epilog, no_args_is_help=True, rich_markup_mode="rich"
        )
    return inside[""]
