"""The output of evaluations in the terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dregcli.cli.render import Terminal
from dregcli.commands import command
from dregcli.describe import described, seen_as
from dregcli.names import ChanceMethod, ModelName, Opinion
from dregcli.specs.number_lists import MOST_SAMPLES
from dregcli.wording import difference, listed, with_error

if TYPE_CHECKING:
    from dregcli.app.evaluation.evaluate import EvalResult

_UNRELIABLE_SHARE = 0.01
"""The share of examples with a k-hat above 0.7 from which the program warns."""

_ERRORS = """\
which error to report beside a mean, and why:
  one model: s.e., the standard error over examples; other examples would give another mean
  numbers on the same examples, such as bound minus exact: MC s.e., the random error from the drawn samples; the \
examples do not change
  several trainings: the standard error over seeds, which a report shows; s.e. does not contain what another \
training would change"""

_KHAT = (
    "k-hat: the shape of the tail of an example's weights; above 0.7, the example's estimate is too low, and the "
    "standard errors are too small"
)

_FEW_CHAINS = 0.25
"""The chains' standard error is reliable if their effective sample size is at least this share of the chains."""


def show(terminal: Terminal, results: Sequence["EvalResult"]) -> None:
    """Show the bounds, their parts, how to read them (unless quiet), and advice about them."""
    first = results[0].summary
    of_noise = f" with {first['noise']} samples" if "noise" in first else ""
    title = f"IWAE bound at K={first['k']}{of_noise} on {_examples(results)} of {first['split']}, nats per example"
    errors, khats = ["bound ± s.e.", "MC s.e.", "examples"], ["k-hat, median", "k-hat above 0.7"]
    columns = ["run", *errors, *khats, "mean ESS", "active units", "step"]
    terminal.table(columns, [_bound(result) for result in results], title=title)
    for result in results:
        if len(result.summary["curve"]) > 1 or result.estimates.repeats > 1:
            terminal.line()
            _curve(terminal, result, named=len(results) > 1)
    terminal.line()
    columns = ["run", "ELBO", "= reconstruction", "- KL(q||prior)", "KL(q||posterior) >=", "jackknife"]
    terminal.table(columns, [_parts(result) for result in results], title="made of, nats per example, ± s.e.")
    terminal.line()
    if rows := [row for result in results for row in _layers(result)]:
        columns = ["run", "layer", "KL(q||prior)", "active units", "units"]
        title = "by layer, nearest to x first, nats per example, ± s.e.; the prior is given the layers above"
        terminal.table(columns, rows, title=title, names=2)
        terminal.line()
    if not terminal.quiet:
        for line in (*_ERRORS.split("\n"), *([_KHAT] if any(result.summary["khat"] for result in results) else [])):
            terminal.line(line)
    for line, whose in _by_line(results).items():
        terminal.line(line if len(whose) == len(results) else f"{', '.join(whose)}: {line}")
    for result in results:
        for line in _second_opinion(result, terminal):
            terminal.line(line)
    whats = {(described(r.spec.model_dump()), r.summary["split_hash"]): None for r in results}
    for what, split_hash in whats:
        terminal.line(f"data: {what}, {first['split']} split {split_hash[:12]}, eval seed {first['seed']}")
    if len({(r.summary["split_hash"], *seen_as(r.spec.model_dump())) for r in results}) > 1:
        terminal.warn("these runs use different data or pixels: their bounds cannot be compared.")
    for result in results:
        for warning in (_not_finite(result), _unreliable(result)):
            if warning is not None:
                terminal.warn(warning)
    for result in results:
        terminal.line(f"kept: {result.path}")
        if log_w := result.summary.get("log_w"):
            terminal.line(f"log-weights: {result.run.path / log_w}")


def _examples(results: Sequence["EvalResult"]) -> str:
    """Count the examples of every result, as a range if the results differ."""
    counts = sorted({result.summary["n"] for result in results})
    return f"{' to '.join(f'{n:,}' for n in dict.fromkeys([counts[0], counts[-1]]))} examples"


def _by_line(results: Sequence["EvalResult"]) -> dict[str, list[str]]:
    """Return the lines about the results, each with the runs that it is about."""
    found: dict[str, list[str]] = {}
    for result in results:
        for line in (*_of_latents(result), *_of_layers(result), *_chance(result), *_no_kl(result), *_exact(result)):
            found.setdefault(line, []).append(result.run.label)
    return found


def _bound(result: "EvalResult") -> list[str]:
    found, khat = result.summary, result.summary["khat"]
    return [
        result.run.label,
        _mean(found["bound"]),
        _error(found["bound"]["mc_stderr"]),
        f"{found['n']:,}",
        f"{khat['median']:.2f}" if khat else "-",
        f"{100.0 * khat['share_above_0.7']:.3g} %" if khat else "-",
        f"{found['ess']:.1f}" if math.isfinite(found["ess"]) else "-",
        "-" if found["active_units"] is None else str(found["active_units"]),
        str(found["checkpoint"]),
    ]


def _parts(result: "EvalResult") -> list[str]:
    found = result.summary
    return [
        result.run.label,
        *(_mean(found[name]) for name in ("elbo", "reconstruction", "kl_prior", "kl_posterior")),
        _mean(found["curve"][-1]["jackknife"]),
    ]


def _layers(result: "EvalResult") -> list[list[str]]:
    """Return a row for each layer of a model with several layers."""
    return [
        [
            result.run.label,
            found["name"],
            _mean(found["kl_prior"]),
            "-" if found["active_units"] is None else str(found["active_units"]),
            str(found["units"]),
        ]
        for found in result.summary.get("layers", ())
    ]


def _of_layers(result: "EvalResult") -> list[str]:
    """Name the layers that have collapsed, and those whose part of the KL is no KL itself."""
    layers = result.summary.get("layers", ())
    lines: list[str] = []
    for found in layers:
        if found["collapsed"]:
            value = f"{found['kl_prior']['value']:.2g} nats per example"
            why = f"its KL is {value}, so its q is almost its prior"
            if not found["is_kl"]:
                why = f"it has no active unit, and its part of KL(q||prior) is {value}"
            lines.append(f"layer {found['name']} has collapsed: {why}; it stores almost nothing about an example")
    if parts := [found["name"] for found in layers if not found["is_kl"]]:
        which = f"the part of {listed(parts)} is no KL and may be negative, because q draws this layer"
        if len(parts) > 1:
            which = f"the parts of {listed(parts)} are no KLs and may be negative, because q draws these layers"
        lines.append(f"{which} before the layers above")
    return lines


def _error(found: float | None) -> str:
    return "-" if found is None else f"{found:.4f}"


def _chance(result: "EvalResult") -> list[str]:
    """Describe how the MC s.e. of each K was estimated, and for which K it is not known."""
    curve, repeats = result.summary["curve"], result.estimates.repeats
    ways = {
        ChanceMethod.GROUPS: "from the variance between disjoint groups of K samples",
        ChanceMethod.REPEATS: f"from the variance between the {repeats} repeats",
        ChanceMethod.LEFT_OUT: "by leaving out each sample in turn",
    }
    found: list[str] = []
    for method, how in ways.items():
        if ks := [f"{row['k']:,}" for row in curve if row["mc_method"] == method]:
            found.append(f"at K={', '.join(ks)} {how}")
    lines = [f"MC s.e. is estimated {'; '.join(found)}"] if found else []
    if unknown := [f"{row['k']:,}" for row in curve if row["mc_method"] is None]:
        lines.append(f"MC s.e. is not known at K={', '.join(unknown)}: {result.again(repeats=max(10, 2 * repeats))}")
    return lines


def _of_latents(result: "EvalResult") -> list[str]:
    """Explain what is known of q only by its draws, or not at all."""
    found, lines = result.summary, list[str]()
    if "noise" in found:
        lines.append(
            f"the samples of an example depend on each other (--noise {found['noise']}): compare this bound with "
            "bounds of the same noise alone; ESS is that of the weights alone; k-hat, the jackknife and "
            "KL(q||posterior) need independent samples and are left out"
        )
    if "no_active_units" in found:
        lines.append(f"active units are not counted: {found['no_active_units']}")
    if "kl_prior_sampled" in found:
        lines.append(
            "KL(q||prior) has no closed form for these distributions: it is the mean of log q(z|x) - log p(z) over "
            "the same samples"
        )
    return lines


def _no_kl(result: "EvalResult") -> list[str]:
    """Explain why KL(q||posterior) is not shown, and what to type to get it."""
    found = result.summary
    if found["kl_posterior"] is not None or "noise" in found or "not_finite" in found:
        return []
    advice = _with_k(result, result.estimates.k_for_kl())
    return [f"KL(q||posterior) is the bound at a large K minus the ELBO; {_still_low(found)}: {advice}"]


def _with_k(result: "EvalResult", k: int | None) -> str:
    """Return the command with this K, or say that there is none."""
    if k is None:
        return f"no number of samples that an evaluation takes, up to {MOST_SAMPLES:,}, is expected to be enough"
    return result.again(k=k)


def _still_low(found: Mapping[str, Any]) -> str:
    """Describe the bias of a bound whose K is too small."""
    k, bias = f"K={found['k']:,}", found["bound"]["bias"]
    if bias is None:
        return f"{k} is too small"
    return f"{k} is too small, because the bound is still about {-bias:.2g} nats below log p(x)"


def _curve(terminal: Terminal, result: "EvalResult", *, named: bool) -> None:
    """Show the bound against K, and its spread over independent draws."""
    repeats = result.estimates.repeats
    columns = ["K", "bound ± s.e.", "MC s.e.", "jackknife ± s.e.", "groups", *(["spread"] if repeats > 1 else [])]
    rows = [
        [
            f"{row['k']:,}",
            _mean(row),
            _error(row["mc_stderr"]),
            _mean(row["jackknife"]),
            f"{row['groups']:,}",
            *([f"{row['spread']:.4f}"] if repeats > 1 else []),
        ]
        for row in result.summary["curve"]
    ]
    of = f"{result.run.label}, " if named else ""
    spread = f"; spread: s.d. of the mean over {repeats} independent draws" if repeats > 1 else ""
    terminal.table(columns, rows, title=f"{of}from the same draws, in disjoint groups of K{spread}")


def _exact(result: "EvalResult") -> list[str]:
    """Compare the estimate with the exact log p(x), if known."""
    log_p, bound = result.summary["log_p"], result.summary["bound"]
    whose = {"model": f"of the model ({ModelName.LINEAR_GAUSSIAN})", "data": "of the distribution of the data"}
    lines: list[str] = []
    for key, found in log_p.items():
        missing = found["bound_less_exact"]
        error = bound["mc_stderr"] if key == "model" else missing["stderr"]
        lines.append(
            f"exact log p(x) {whose[key]}: {_mean(found)}; bound minus exact: {difference(missing['value'], error)}"
            + (" (importance sampling)" if key == "model" and error is not None else "")
        )
    return lines


def _second_opinion(result: "EvalResult", terminal: Terminal) -> list[str]:
    """Describe the result of annealing from the prior on the same examples, and its consequence."""
    found = result.summary.get("ais")
    if found is None:
        return []
    less, label = found["less_importance"], result.run.label
    opinion = Opinion(found["opinion"])
    follows = {
        Opinion.AGREES: "the two agree",
        Opinion.HIGHER: "importance sampling has missed mass: use a larger --k, or train the encoder",
        Opinion.LOWER: "the annealing is too short: use more --steps",
        Opinion.K_TOO_SMALL: f"the two are not compared; {_still_low(result.summary)}",
        Opinion.UNKNOWN: "the two are not compared, because the error of so few examples is not known",
    }[opinion]
    if known := found["mc_stderr"] is not None:
        of_chains = f"of which ± {found['mc_stderr']:.4f} is random error of the chains"
    else:
        of_chains = "whose random error is not known, because an example has only one chain with a weight above 0"
        follows = follows if opinion is Opinion.K_TOO_SMALL else "the two are not compared"
    if found["ess"] < _FEW_CHAINS * found["chains"]:
        terminal.warn(
            f"{label}: the weights of the chains differ a lot (median ESS {found['ess']:.1f} of {found['chains']}), "
            "so their error is itself uncertain; use more --steps."
        )
    apart = f"{difference(less['value'], less['mc_stderr'])}{_expected(result)}"
    lines = [
        f"{label}, AIS from the prior ({found['steps']:,} steps, {found['chains']} chains, acceptance "
        f"{found['acceptance']:.2f}): log p-hat {_mean(found)}, {of_chains}",
        f"  AIS minus importance sampling: {apart}: {follows}",
    ]
    if opinion is Opinion.K_TOO_SMALL and result.opinion and "not_finite" not in result.summary:
        lines.append(f"  to compare them: {_with_k(result, result.opinion.k_to_compare())}")
    if opinion is Opinion.UNKNOWN:
        more = {"repeats": max(10, 2 * result.estimates.repeats)} if known else {"chains": 2 * found["chains"]}
        lines.append(f"  to compare them: {result.again(**more)}")
    if (exact := found["less_exact"]) is not None:
        lines.append(f"  AIS minus the exact log p(x): {difference(exact['value'], found['mc_stderr'])}")
    return lines


def _expected(result: "EvalResult") -> str:
    """Describe the part of the difference from AIS that the limited K explains, if it is large enough to be seen."""
    bias = result.summary["bound"]["bias"]
    return "" if bias is None or -bias < 5e-5 else f", of which about {-bias:+.4f} is expected at this K"


def _not_finite(result: "EvalResult") -> str | None:
    """Return a warning that some examples have no finite bound, so that there is no mean over all; or None."""
    found = result.summary
    if (examples := found.get("not_finite")) is None:
        return None
    return (
        f"{result.run.label}: the bound is not a finite number for {examples:,} of {found['n']:,} examples, and so "
        "their mean is none. It is -inf where p(x, z) is 0 for all K samples: use a larger --k, or a model that "
        "gives every x a density above 0."
    )


def _unreliable(result: "EvalResult") -> str | None:
    """Return a warning that importance sampling misses mass, with advice, or None."""
    khat = result.summary["khat"]
    if khat is None or khat["share_above_0.7"] < _UNRELIABLE_SHARE:
        return None
    share = 100.0 * khat["share_above_0.7"]
    ways = ["use a larger --k"]
    if result.opinion is None:
        ways.append("ask for a second opinion (--method ais)")
    ways.append(f"train the encoder further: {command('finetune-encoder', result.run.path)}")
    return (
        f"{result.run.label}: k-hat is above 0.7 for {share:.3g} % of the examples. For these, q misses mass of the "
        f"posterior: their estimates are too low, and their standard errors too small; {', or '.join(ways)}"
    )


def _mean(found: Mapping[str, Any] | None) -> str:
    return "-" if found is None else with_error(found["value"], found["stderr"])
