"""An advice in sentences. Each names the numbers that it rests on, with their standard errors."""

from dregcli.app.diagnosis.advice import LEAST_NATS, AtK, Choice
from dregcli.app.diagnosis.advice_measured import Bounds, Candidate, Estimate, Ratio
from dregcli.app.diagnosis.advice_report import AdviceReport
from dregcli.cli.diagnosis.variance_result import with_digits
from dregcli.commands import command

FEW = 2.0
"""Effective samples below which the largest weight decides nearly alone."""

HEAVY = 0.5
"""Share of the examples with a k-hat above 0.7 from which on the bound at the largest K stands for nothing."""


def of_pair(choice: Choice) -> list[str]:
    """Say which pair to use, how sure this is, and which biased pair has more signal."""
    use = choice.use
    if choice.is_biased:
        why = "no unbiased pair of those measured can train this model here"
        return [f"use {use.label}, although it is biased{bias_of(use)}: {why}."]
    text = f"use {use.label}"
    if choice.undecided:
        names = ", ".join(each.label for each in choice.undecided)
        text += f": undecided between it and {names}, it is the cheaper or the simpler one"
    elif second := [(each, ratio) for each, ratio in choice.compared if each is not use and not each.is_biased]:
        other, ratio = second[0]
        if ratio is not None:
            text += f": {times(ratio.inverse)} the SNR² a second of {other.label}, the next unbiased pair"
    lines = [f"{text}."]
    for each in choice.beyond[:1]:
        ratio = next(found for pair, found in choice.compared if pair is each)
        assert ratio is not None
        lines.append(
            f"{each.label} has {times(ratio)} as much along the same gradient, but it is biased{bias_of(each)}, so "
            "that training ends elsewhere: compare both over seeds before you use it."
        )
    return lines


def bias_of(each: Candidate) -> str:
    """Say how large a bias is, and what the pair follows."""
    if each.is_suspect:
        return f" by this measurement, against its promise: {command('bias-check', '--estimator', each.label)}"
    size = each.relative_bias
    amount = "" if size is None else f" by {number(size)} times the size of that gradient"
    return f"{amount}{f' (it follows {each.follows})' if each.follows else ''}"


def of_k(now: int, to: int, at: tuple[AtK, ...]) -> str:
    """Say which K to use, and why."""
    if not at:
        return f"stay at K={now}: the pair is not defined with the other numbers of samples."
    for each in at:
        if each.k == to:
            long = f"a step takes {times(each.cost)} as long"
            if to > now:
                return f"raise K to {to}: the bound gains {number(each.gain)} nats, and {long}."
            lost = number(Estimate(-each.gain.value, each.gain.stderr))
            return f"lower K to {to}: the bound loses only {lost} nats, and {long}."
    return f"stay at K={now}: {'; '.join(_stays(each, now) for each in at)}."


def _stays(each: AtK, now: int) -> str:
    if each.k < now:
        lost = number(Estimate(-each.gain.value, each.gain.stderr))
        return f"K={each.k} loses {lost} nats and takes {times(each.cost)} as long"
    gains = each.gain.is_above_zero and each.gain.value >= LEAST_NATS
    why = "more than half of the SNR² a second is lost" if gains else f"less than {LEAST_NATS} nats do not pay"
    return f"K={each.k} gains {number(each.gain)} nats and takes {times(each.cost)} as long: {why}"


def others(report: AdviceReport) -> list[str]:
    """Name the best pair of each other objective, and how far they can be compared."""
    if not report.others:
        return []
    found = ", ".join(f"{each.best.label} {_snr(each.best)}" for each in report.others)
    return [f"Other objectives ascend other bounds, which SNR² does not rank; the best pair of each: {found}."]


def _snr(each: Candidate) -> str:
    return "lost in noise" if each.encoder.is_lost else number(each.encoder.squared_snr)


def weights(bounds: Bounds, k: int) -> str:
    """Say what the weights of the samples show."""
    share = f"{100.0 * bounds.ess.value / k:.0f} %"
    tail = ""
    if bounds.khat is not None and bounds.khat_high is not None:
        tail = f"; k-hat {bounds.khat:.2f}, above 0.7 for {100.0 * bounds.khat_high:.0f} % of the examples"
    far = f"q is {number(bounds.distance)} nats from the posterior (bound at K={bounds.most:,} minus the ELBO)"
    return f"ESS {number(bounds.ess)} of {k} ({share}){tail}; {far}."


def changes(report: AdviceReport) -> list[str]:
    """Name the measured facts that could change the advice."""
    bounds, k = report.bounds, report.choice.use.k
    found: list[str] = []
    if k > 1 and bounds.ess.value < FEW:
        found.append("few samples count, so that a softer objective (vr-iwae, ciwae) has more signal")
    if bounds.khat_high is not None and bounds.khat_high > HEAVY:
        found.append("the tails are heavy: q is farther from the posterior than measured, and a larger K gains more")
    found.append("the order of the pairs belongs to this distance: ask again when it has halved or doubled")
    return [f"What would change this: {'; '.join(found)}."]


def number(found: Estimate | None) -> str:
    """Format a number with its error; a dash without one."""
    return "-" if found is None else with_digits(found.value, found.stderr)


def times(ratio: Ratio) -> str:
    """Format a ratio with its error."""
    return f"{with_digits(ratio.value, ratio.error)} times"
