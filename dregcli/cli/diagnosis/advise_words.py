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
    elif second := [
        (each, ratio) for each, ratio in choice.compared if ratio and each is not use and _is_rival(each)
    ]:
        other, ratio = second[0]
        text += f": {times(ratio.inverse)} the SNR² a second of {other.label}, the next unbiased pair"
    lines = [f"{text}."]
    for each in choice.beyond[:1]:
        ratio = next(found for pair, found in choice.compared if pair is each)
        assert ratio is not None
        lines.append(
            f"{each.label} has {times(ratio)} as much along the same gradient, but it is biased{bias_of(each)}, so "
            "that training ends elsewhere, better or worse: compare both over seeds before you use it."
        )
    return lines


def _is_rival(each: Candidate) -> bool:
    return not each.is_biased and each.refusal is None and each.moves


def bias_of(each: Candidate) -> str:
    """Say how large a bias is, and what the pair follows."""
    if each.is_suspect:
        return f" by this measurement, against its promise: {command('bias-check', '--estimator', each.label)}"
    size = each.relative_bias
    amount = "" if size is None else f" by {number(size)} times the size of that gradient"
    return f"{amount}{f' (it follows {each.follows})' if each.follows else ''}"


def of_k(now: int, to: int, at: tuple[AtK, ...], bounds: Bounds) -> str:
    """Say which K to use, and why."""
    if not at:
        return f"stay at K={now}: the pair is not defined, or has no gradient, with the other numbers of samples."
    for each in at:
        if each.k == to:
            return f"{'raise' if to > now else 'lower'} K to {to}: {_moved(each, now, bounds)}."
    reasons = {each.refusal for each in at}
    if len(reasons) == 1 and (reason := reasons.pop()):
        return f"stay at K={now}: {_clause(reason)}."
    return f"stay at K={now}: {'; '.join(_moved(each, now, bounds) for each in at)}."


def _moved(each: AtK, now: int, bounds: Bounds) -> str:
    """Say what another number of samples gains, and what its time would gain otherwise."""
    if each.refusal is not None:
        return f"K={each.k} is not advised, because {_clause(each.refusal)}"
    size = abs(each.slowdown.log)
    speed = times(Ratio(size, each.slowdown.stderr))
    is_slower = each.slowdown.log > 0.0
    if each.gain == Estimate(0.0, 0.0):
        return f"K={each.k} has the same bound, and learns {speed} {'slower' if is_slower else 'faster'}"
    if each.k < now:
        loses = f"K={each.k} loses {number(_minus(each.gain))} nats"
        if is_slower:
            return f"{loses}, and learns {speed} slower as well"
        if each.instead is None:
            return f"{loses}, and learns {speed} faster"
        return f"{loses}, and the steps that it makes room for gain {number(_minus(each.instead))}"
    gains = f"K={each.k} gains {number(each.gain)} nats"
    if not is_slower:
        return f"{gains}, and learns {speed} faster as well" if size else gains
    if each.gain.value < LEAST_NATS:
        return f"{gains}, and less than {LEAST_NATS} does not pay"
    if each.instead is not None:
        return f"{gains}, and as much time for more steps gains {number(each.instead)}"
    if (below := each.pays_below) is not None:
        return f"{gains}, and pays once twice the steps gain less than {number(below)} (no earlier checkpoint tells)"
    return gains


def _clause(reason: str) -> str:
    """Return a reason as a part of a sentence."""
    return reason.rstrip(".")


def _minus(found: Estimate) -> Estimate:
    return Estimate(-found.value + 0.0, found.stderr)


def others(report: AdviceReport) -> list[str]:
    """Name the best pair of each other objective, and how far they can be compared."""
    if not report.others:
        return []
    found = ", ".join(f"{each.label} {_snr(each)}" for each in report.others)
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
    if bounds.ess.value < min(FEW, k / 2.0):
        found.append("few samples count, so that a softer objective (vr-iwae, ciwae) has more signal")
    if bounds.khat_high is not None and bounds.khat_high > HEAVY:
        found.append("the tails are heavy: q is farther from the posterior than measured, and a larger K gains more")
    if bounds.rise is not None and report.k <= k:
        dear = [each for each in report.at if each.k > k and each.gain.value >= LEAST_NATS and not each.refusal]
        found += [
            f"twice the steps gain {number(bounds.rise)} nats now, and K={each.k} pays once that is below "
            f"{number(price)}"
            for each in dear
            if (price := each.pays_below) is not None
        ]
    found.append("the order of the pairs belongs to this distance: ask again when it has halved or doubled")
    return [f"What would change this: {'; '.join(found)}."]


def number(found: Estimate | None) -> str:
    """Format a number with its error; a dash without one."""
    return "-" if found is None else with_digits(found.value, found.stderr)


def times(ratio: Ratio) -> str:
    """Format a ratio with its error."""
    return f"{with_digits(ratio.value, ratio.error)} times"
