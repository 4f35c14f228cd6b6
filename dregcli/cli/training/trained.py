"""The output of a command that has trained a run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dregcli.cli.render import Terminal
from dregcli.commands import command
from dregcli.defaults import EVALUATED_KS
from dregcli.describe import NEW_ENCODER, described
from dregcli.names import Split
from dregcli.specs.execution import gradient_in_words
from dregcli.specs.run import RunSpec, as_json, spelt_out
from dregcli.specs.toml import as_toml
from dregcli.wording import difference, with_error
from dregcli.words import name_of

if TYPE_CHECKING:
    from dregcli.app.training.train import TrainResult

_ALWAYS = (
    "run",
    "status",
    "step",
    "k",
    "eval_k",
    "bound",
    "task",
    "binarisation",
    "likelihood",
    "split_convention",
    "split_hashes",
    "backward",
    "screen_inflation",
    "screen_precision",
    "k_chunk",
    "compile",
    "bound_computed",
    "seconds",
    "steps_per_second",
)
_WHERE_THERE_IS = (
    "log_p",
    "learned",
    "fitted",
    "parent",
    "bound_before",
    "gain",
    "theta_sha256",
    "ema",
    "final_step",
    "stopped_early",
)


def trained_json(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON output of ``dreg train`` for a run: all its values that the summary holds.

    The bound of a split that was not evaluated at the end is null.
    """
    found = {key: summary[key] for key in (*_ALWAYS, *_WHERE_THERE_IS) if key in summary}
    if "bound" in found:
        found["bound"] = {split.value: found["bound"].get(split.value) for split in Split}
    return found


def show_trained(terminal: Terminal, result: "TrainResult") -> None:
    """Show the bounds of all splits, the gain over a parent, the learned parameters, and what to type next."""
    summary, spec = result.summary, result.spec
    if terminal.as_json:
        terminal.result(trained_json(summary))
        return
    before = summary.get("bounds_before")
    log_p: dict[str, dict[str, float]] = summary.get("log_p", {})
    exact = list(dict.fromkeys(whose for found in log_p.values() for whose in found))
    columns = [
        "split",
        *(["before ± s.e."] if before else []),
        "bound ± s.e.",
        "examples",
        *(["gain ± s.e."] if before else []),
        *(f"exact log p(x) of the {whose}" for whose in exact),
    ]
    rows: list[list[str]] = []
    for split in map(str, Split):
        bound, gain = summary["bounds"].get(split), summary.get("gain", {}).get(split)
        row = [split, _bound(bound), f"{bound['n']:,}" if bound else "-"]
        if before:
            row.insert(1, _bound(before.get(split)))
            row.append(difference(**gain) if gain else "-")
        row += [with_error(log_p.get(split, {}).get(whose), None) for whose in exact]
        rows.append(row)
    what = described(spec.model_dump(mode="json"))
    other = "" if spec.bound_k == spec.k else f" (trained at K={spec.k:,})"
    title = f"{what}, {result.pair}: bound at K={spec.bound_k:,}{other}, nats per example"
    terminal.table(columns, rows, title=title)
    if missing := [split.value for split in Split if split.value not in summary["bounds"]]:
        later = command("train", "--resume", result.run.path, "--final-eval", "all")
        terminal.line(f"not computed (--final-eval {spec.final_eval}): {', '.join(missing)}; compute all: {later}")
    if spec.parent:
        fresh = f", {NEW_ENCODER}" if spec.parent.reset_encoder else ""
        theta = summary["theta_sha256"]["after"][:16]
        terminal.line(f"from: {spec.parent.run}, step {spec.parent.checkpoint}{fresh}; before: the bound there")
        terminal.line(f"      the whole gain comes from the encoder: the model did not change (SHA-256 {theta})")
    for key, words in (
        ("learned", f"learned by {name_of(spec.estimator)}"),
        ("fitted", f"fitted for {name_of(spec.objective)}"),
    ):
        if key in summary:
            values = ", ".join(f"{name} {value:.4g}" for name, value in summary[key].items())
            terminal.line(f"{words}: {values}")
    if "ema" in summary:
        terminal.line(f"weights: their moving average (--ema {spec.ema:g})")
    if "final_step" in summary:
        early = f"; training stopped early, of {spec.steps:,} planned steps" if summary["stopped_early"] else ""
        terminal.line(f"bounds: of the best checkpoint, step {summary['final_step']:,} (--patience){early}")
    terminal.line(f"gradient: {gradient_in_words(spec)}")
    rate = f", {summary['steps_per_second']:.1f} steps/s" if summary["steps_per_second"] else ""
    terminal.line(
        f"run:  {summary['run']}   ({summary['step']} steps in {summary['seconds']:.1f} s without evaluation{rate})"
    )
    terminal.line(f"next: {command('eval', result.run.path, '--split', 'test', '--k', EVALUATED_KS)}")


def _bound(found: Mapping[str, Any] | None) -> str:
    return with_error(found["value"], found["stderr"]) if found else "-"


def show_config(terminal: Terminal, spec: RunSpec) -> None:
    """Print a resolved run for ``--config``: as TOML, or with ``--json`` as JSON in the form of a ``spec.json``."""
    if terminal.as_json:
        terminal.result(spelt_out(as_json(spec)))
    else:
        terminal.line(as_toml(spec).rstrip("\n"))
