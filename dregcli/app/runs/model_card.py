"""The page that goes with an exported model: what it is, how good it is, how it was trained, and what to cite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dregcli import __version__
from dregcli.app.loading.stored import is_with_its_code, spec_of
from dregcli.app.planning.optimising import average_in_words
from dregcli.app.runs.loader_code import LOADER
from dregcli.commands import command
from dregcli.describe import described, flat
from dregcli.report.bibtex import Citation, bibtex
from dregcli.specs.run import RunSpec, as_json, spelt_out
from dregcli.store.run import Run

_UNRELIABLE: Final = 0.7


@dataclass(frozen=True)
class Bound:
    """The best known bound of the exported weights.

    Attributes:
        split: split of the examples.
        k: samples per example.
        n: number of examples.
        value: the mean, nats per example.
        stderr: its standard error over examples; None for a single example.
        khat: median of k-hat and share of examples above 0.7, as ``dreg eval --json`` has them; None if unknown.
    """

    split: str
    k: int
    n: int
    value: float
    stderr: float | None
    khat: Mapping[str, float] | None

    def in_words(self) -> str:
        """Return the bound in one sentence."""
        error = "" if self.stderr is None else f" ± {self.stderr:.2f}"
        where = f"on {self.n:,} examples of the {self.split} split"
        return f"IWAE bound {where} with K = {self.k:,}: **{self.value:.2f}{error} nats per example**."


def bound_of(run: Run, step: int) -> Bound | None:
    """Return the bound of the weights of a step: of the largest evaluation, or else the final bound of the run."""
    spec = spec_of(run)
    found = [each.attrs for each in run.results("evals") if each.attrs["checkpoint"] == step]
    evals = [each for each in found if is_with_its_code(each, spec) and "noise" not in each]
    if evals:
        best = max(evals, key=lambda each: (each["split"] == "test", each["n"], each["k"]))
        bound = best["bound"]
        return Bound(best["split"], best["k"], best["n"], bound["value"], bound["stderr"], best.get("khat"))
    summary = run.info().summary
    if summary.get("final_step", summary.get("step")) != step:
        return None
    for split in ("test", "valid", "train"):
        if found := summary.get("bounds", {}).get(split):
            return Bound(split, found["k"], found["n"], found["value"], found["stderr"], None)
    return None


def model_card(
    run: Run,
    spec: RunSpec,
    *,
    step: int,
    shape: Sequence[int],
    kind: str,
    files: Mapping[str, str],
    loader: str,
    not_exported: str | None,
    cited: Sequence[Citation],
) -> str:
    """Return the page as Markdown.

    Args:
        run: the run.
        spec: its spec.
        step: step of the weights.
        shape: shape of one example.
        kind: kind of the values that the model sees.
        files: what each file is, by its name.
        loader: the loader's code.
        not_exported: why torch cannot export the networks as programs; None if it can.
        cited: works to cite.
    """
    settings = flat({**as_json(spec), "steps": spec.steps, "k": spec.k, "objective": spec.objective})
    settings |= {"estimator": spec.estimator, "lr": spec.lr, "seed": spec.seed, "batch_size": spec.batch_size}
    average = "" if spec.ema is None else f", as {average_in_words(spec)}"
    lines = [
        f"# {run.name}",
        "",
        f"A deep latent-variable model ({spec.model}) of {described(spelt_out(as_json(spec)))}, trained with",
        f"`{spec.objective}` and the gradient estimator `{spec.estimator}` at K = {spec.k:,} by dreg {__version__}.",
        f"These are the weights of step {step:,} of {run.key}{average}.",
        "",
        "## How good it is",
        "",
        *_quality(bound_of(run, step), run),
        "",
        "## How to load it",
        "",
        f"`{LOADER}` needs torch and safetensors alone. An example has the shape {tuple(shape)} "
        f"(channels, height, width) and {kind} values; the functions take and return it as one row of numbers.",
        "",
        "```python",
        loader.rstrip(),
        "```",
        "",
        "## Files",
        "",
        *(f"- `{name}`: {what}" for name, what in files.items()),
        *([f"- `torch.export` could not make programs of the networks: {not_exported}"] if not_exported else []),
        "",
        "## How it was trained",
        "",
        "| setting | value |",
        "| --- | --- |",
        *(f"| {name} | `{value}` |" for name, value in sorted(settings.items()) if name != "spec_version"),
        "",
        "## What to cite",
        "",
        "```bibtex",
        bibtex(cited).rstrip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _quality(bound: Bound | None, run: Run) -> list[str]:
    evaluates = command("eval", run.key)
    if bound is None:
        return [f"These weights were not evaluated; `{evaluates}` does it."]
    lines = [bound.in_words(), "In expectation it is a lower bound of the mean of log p(x); larger is better."]
    if bound.khat:
        median, share = bound.khat["median"], bound.khat[f"share_above_{_UNRELIABLE}"]
        trust = "a bound to trust" if share < 0.1 else "log p(x) may be well above the bound for these"
        lines.append(f"k-hat of the weights: median {median:.2f}, above {_UNRELIABLE} for {share:.1%} ({trust}).")
    else:
        lines.append(f"k-hat of the weights is not known: `{evaluates}` computes it.")
    return lines
