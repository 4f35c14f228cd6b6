"""The output of ``dreg train --dry-run``."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from dregcli.cli.render import Terminal
from dregcli.parts import shown_word
from dregcli.wording import counted

if TYPE_CHECKING:
    from dregcli.app.studies.preview import Preview, Previewed


def show_preview(terminal: Terminal, preview: "Preview") -> None:
    """Show one row for each run: what tells it from the others, and what the store has of it."""
    from dregcli.report.settings import setting_name

    runs = preview.runs
    if terminal.as_json:
        terminal.result(preview_json(preview))
        return
    settings = list(runs[0].combination.settings)
    names = [setting_name(name) for name in settings]
    columns = ["number", "objective/estimator", *names, "seed", "state", "run"]
    rows = [[str(i), *_row(each, settings)] for i, each in enumerate(runs, start=1)]
    terminal.table(columns, rows, title=f"{counted(len(runs), 'run')}; nothing is trained now (--dry-run)")
    states = Counter(each.state for each in runs)
    terminal.line(", ".join(f"{count} {state}" for state, count in states.items()))
    for sentence in preview.elsewhere:
        terminal.line(sentence)
    if not preview.is_study and runs[0].repeat is not None:
        terminal.line("Without --seeds the run is trained as a new version, although the store has it already.")


def preview_json(preview: "Preview") -> dict[str, Any]:
    """Return the form of ``--dry-run --json``."""
    content: dict[str, Any] = {"runs": [{"number": i, **_json(each)} for i, each in enumerate(preview.runs, start=1)]}
    return content | ({"elsewhere": [*preview.elsewhere]} if preview.elsewhere else {})


def _pair(each: "Previewed") -> str:
    spec = each.combination.spec
    return f"{shown_word(spec.objective)}/{shown_word(spec.estimator)}"


def _row(each: "Previewed", settings: list[str]) -> list[str]:
    combination = each.combination
    state = each.state if each.step is None else f"{each.state} at step {each.step:,}"
    return [
        _pair(each),
        *(combination.settings[name] for name in settings),
        str(combination.spec.seed),
        state,
        str(each.repeat.run.path) if each.repeat else each.name,
    ]


def _json(each: "Previewed") -> dict[str, Any]:
    combination = each.combination
    return {
        "label": combination.label,
        "objective": combination.spec.objective,
        "estimator": combination.spec.estimator,
        "settings": dict(combination.settings),
        "seed": combination.spec.seed,
        "state": each.state,
        "step": each.step,
        "run": str(each.repeat.run.path) if each.repeat else None,
        "name": each.name,
    }
