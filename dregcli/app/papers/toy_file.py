"""The words of a file about the Gaussian toy: pairs, quantities and published numbers, and their faults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dregcli.app.planning.asked_pairs import parse_asked
from dregcli.engine.diagnostics.variance import FEWEST_REPLICATES
from dregcli.engine.diagnostics.variance_result import SLOPED
from dregcli.engine.pairs import Pair
from dregcli.engine.words import parse_objective, word_of
from dregcli.errors import Fault, SpecError
from dregcli.specs.papers.document import Paper, Published, ToyGradients
from dregcli.specs.papers.lines import Place

Key = tuple[str, str | None]
"""The words of objective and estimator of a gradient; a decoder's has no estimator if all pairs share it."""


@dataclass(frozen=True)
class ToyQuantity:
    """A statistic of gradients.

    Attributes:
        name: what it is called; ``{}`` stands for the network.
        unit: its unit, for an axis.
        is_log: whether the axis is logarithmic.
        is_excess: whether noise alone would be about 0, on either side.
    """

    name: str
    unit: str
    is_log: bool = True
    is_excess: bool = False


QUANTITIES: Final[Mapping[str, ToyQuantity]] = {
    "variance": ToyQuantity("variance of the {}'s gradient", "squared nats per squared unit"),
    "snr": ToyQuantity("SNR of the {}'s gradient", "mean of |mean| / sd"),
    "dsnr": ToyQuantity("directional SNR of the {}'s gradient", "along / across"),
    "squared_bias": ToyQuantity("squared bias of the {}'s gradient", "squared nats per squared unit", is_excess=True),
    "cosine": ToyQuantity("cosine of the {}'s gradient to the reference", "cosine", is_log=False),
}
"""By the word for ``y`` of a panel; the names are those in the JSON of ``dreg variance``."""

_AT: Final = ("pair", "objective", "k")
"""Settings that a published number of the toy may name."""


def toy_of(paper: Paper) -> ToyGradients:
    """Return the experiment of a paper on the toy."""
    assert isinstance(paper.experiment, ToyGradients)
    return paper.experiment


def file_faults(paper: Paper) -> list[tuple[Place, str]]:
    """Return pairs, quantities and published numbers that there are not."""
    experiment = toy_of(paper)
    found: list[tuple[Place, str]] = []
    pairs: list[Pair] = []
    for number, word in enumerate(experiment.pairs):
        try:
            pairs.append(pair_of(word))
        except SpecError as error:
            found += [(("experiment", "pairs", number), fault.message) for fault in error.faults]
    if experiment.replicates < FEWEST_REPLICATES:
        why = f"must be at least {FEWEST_REPLICATES}, got {experiment.replicates}."
        found.append((("experiment", "replicates"), why))
    for number, panel in enumerate(paper.figure):
        found += [(("figure", number, "y"), why) for why in _unknown(panel.y)]
        if panel.x != "k":
            found.append((("figure", number, "x"), f"must be k, got '{panel.x}'."))
    for number, each in enumerate(paper.published):
        found += [(("published", number, name), why) for name, why in _published_faults(each, experiment, pairs)]
    return found


def pair_of(word: str) -> Pair:
    """Return the pair that a word names.

    Raises:
        SpecError: there is no such pair.
    """
    objective, estimator = parse_asked(word, None)
    pair = Pair(objective or parse_objective("iwae"), estimator)
    if (refusal := estimator.refusal(pair.objective)) is not None:
        raise SpecError([Fault("pairs", f"'{word}': {refusal}")])
    return pair


def _unknown(y: str) -> list[str]:
    return [] if y in QUANTITIES else [f"must be one of {', '.join(QUANTITIES)}, got '{y}'."]


def _published_faults(each: Published, experiment: ToyGradients, pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    found = [("y", why) for why in _unknown(each.y)]
    if others := [name for name in each.at if name not in _AT]:
        found.append(("at", f"{', '.join(others)}: a number of the toy is at a pair or an objective, and at a k."))
    if each.of == "slope":
        if each.y not in SLOPED:
            found.append(("of", f"a slope is one of {', '.join(SLOPED)}, got {each.y}."))
        if "k" in each.at and each.at["k"] not in experiment.k[:-1]:
            found.append(
                ("at", f"a slope begins at one of K={ks_in_words(experiment.k[:-1])}, got {each.at['k']!r}.")
            )
    elif each.at.get("k") not in experiment.k:
        found.append(("at", f"k must be one of {ks_in_words(experiment.k)}, got {each.at.get('k')!r}."))
    try:
        key = key_of(each)
    except SpecError as error:
        return [*found, *(("at", fault.message) for fault in error.faults)]
    if key not in {gradient_of(pair, each.network) for pair in pairs}:
        found.append(("at", "no pair of the experiment is meant."))
    return found


def key_of(published: Published) -> Key:
    """Return the words of objective and estimator that a published number names; the decoder has no estimator.

    Raises:
        SpecError: there is no such pair or objective.
    """
    if "pair" in published.at:
        return gradient_of(pair_of(str(published.at["pair"])), published.network)
    return word_of(parse_objective(str(published.at.get("objective", "iwae")))), None


def gradient_of(pair: Pair, network: str) -> Key:
    """Return the words of a pair's gradient in the encoder or in the decoder, which most pairs share."""
    is_shared = network != "encoder" and pair.keeps_theta
    return word_of(pair.objective), None if is_shared else word_of(pair.estimator)


def ks_in_words(ks: Sequence[int]) -> str:
    """Return numbers with commas between."""
    return ",".join(map(str, ks))
