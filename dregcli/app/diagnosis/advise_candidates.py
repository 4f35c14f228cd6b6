"""Put what was measured of a pair into the form that the rules of an advice take."""

from collections.abc import Sequence

from dregcli.app.diagnosis.advice_measured import Candidate, Gradient
from dregcli.app.planning.plan import in_words
from dregcli.engine.diagnostics.step_study import Numbers
from dregcli.engine.estimators import ESTIMATORS
from dregcli.engine.pairs import Pair
from dregcli.engine.words import parameter_kinds, short_word, word_of
from dregcli.names import Promise
from dregcli.parts import shown_word


def candidate_of(
    pair: Pair,
    encoder: Numbers,
    decoder: Numbers | None,
    k: int,
    *,
    ks: Sequence[int] = (),
    cost: tuple[float, ...] = (),
    refusal: str | None = None,
) -> Candidate:
    """Return what is known about a pair, for the rules of ``advice``.

    Args:
        pair: the pair.
        encoder: numbers of the posterior's gradient.
        decoder: numbers of the model's gradient; None if nothing of it is trained.
        k: samples per example.
        ks: other numbers of samples that the advice may move to.
        cost: milliseconds of a step in each round.
        refusal: why it cannot train here.
    """
    is_promised, follows = promises(pair, k), None
    if not is_promised:
        shares = pair.estimator.expectation(pair.objective)
        follows = in_words(shares) if shares else pair.estimator.own_target
    return Candidate(
        label=shown_word(f"{word_of(pair.objective)}/{word_of(pair.estimator)}"),
        objective=short_word(pair.objective),
        estimator=short_word(pair.estimator),
        k=k,
        encoder=Gradient(encoder.variance, encoder.signal),
        decoder=decoder and Gradient(decoder.variance, decoder.signal),
        along=encoder.along,
        squared_bias=encoder.squared_bias,
        target=encoder.target,
        promises=is_promised,
        follows=follows,
        cost=cost,
        plainness=_plainness(pair, ks),
        refusal=refusal,
    )


def promises(pair: Pair, k: int) -> bool:
    """Whether a pair promises the gradient of its objective, and not that of a target of its own."""
    return pair.promise(k) is Promise.UNBIASED and pair.estimator.own_target is None


def _plainness(pair: Pair, ks: Sequence[int]) -> tuple[int, ...]:
    """Sort pairs: first those that stay unbiased at other K, then those that learn nothing, then by parameters.

    Fewer parameters come first; the last is the place in the list of all estimators.
    """
    biased = sum(not promises(pair, k) for k in ks if not pair.faults(k))
    kind = type(pair.estimator)
    order = list(ESTIMATORS).index(pair.estimator.name)
    return biased, len(pair.estimator.learned), len(parameter_kinds(kind)), order
