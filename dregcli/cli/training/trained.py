"""The output of a command that has trained a run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dregcli.cli.render import Terminal
from dregcli.commands import command
from dregcli.defaults import EVALUATED_KS
from dregcli.describe import NEW_ENCODER, described
from dregcli.names import Backward, Precision
from dregcli.specs.run import RunSpec, as_json, spelt_out
from dregcli.specs.toml import as_toml
from dregcli.wording import difference, with_error

if TYPE_CHECKING:
    from dregcli.app.training.train import TrainResult

_ALWAYS = (
    "run",
    "status",
    "step",
    "k",
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
_WHERE_THERE_IS = ("log_p", "learned", "parent", "bound_before", "gain", "theta_sha256")


def trained_json(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON output of ``dreg train`` for a run: all its values that the summary holds."""
    return {key: summary[key] for key in (*_ALWAYS, *_WHERE_THERE_IS) if key in summary}


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
    for split, bound in summary["bounds"].items():
        row = [split, with_error(bound["value"], bound["stderr"]), f"{bound['n']:,}"]
        if before:
            row.insert(1, with_error(before[split]["value"], before[split]["stderr"]))
            row.append(difference(**summary["gain"][split]))
        row += [with_error(log_p[split][whose], None) for whose in exact]
        rows.append(row)
    what = described(spec.model_dump(mode="json"))
    title = f"{what}, {result.pair}: bound at K={spec.k}, nats per example"
    terminal.table(columns, rows, title=title)
    if spec.parent:
        fresh = f", {NEW_ENCODER}" if spec.parent.reset_encoder else ""
        theta = summary["theta_sha256"]["after"][:16]
        terminal.line(f"from: {spec.parent.run}, step {spec.parent.checkpoint}{fresh}; before: the bound there")
        terminal.line(f"      the whole gain comes from the encoder: the model did not change (SHA-256 {theta})")
    if "learned" in summary:
        values = ", ".join(f"{name} {value:.4g}" for name, value in summary["learned"].items())
        terminal.line(f"learned by {spec.estimator.partition(':')[0]}: {values}")
    terminal.line(f"gradient: {_how(result)}")
    rate = f", {summary['steps_per_second']:.1f} steps/s" if summary["steps_per_second"] else ""
    terminal.line(
        f"run:  {summary['run']}   ({summary['step']} steps in {summary['seconds']:.1f} s without evaluation{rate})"
    )
    terminal.line(f"next: {command('eval', result.run.path, '--split', 'test', '--k', EVALUATED_KS)}")


def show_config(terminal: Terminal, spec: RunSpec) -> None:
    """Print a resolved run for ``--config``: as TOML, or with ``--json`` as JSON in the form of a ``spec.json``."""
    if terminal.as_json:
        terminal.result(spelt_out(as_json(spec)))
    else:
        terminal.line(as_toml(spec).rstrip("\n"))


def _how(result: "TrainResult") -> str:
    """Describe how the gradients and the logged bound were computed."""
    spec = result.spec
    if spec.backward is Backward.DENSE:
        return "dense, over all rows"
    words = f"screened, inflation {spec.screen_inflation:g}"
    if spec.screen_precision is Precision.BFLOAT16:
        words += "; first pass and logged training bound in bfloat16, corrected at random"
    return words
