"""Tracked pairs: moving moments by explicit weights, replayed trajectories, and training that does not notice."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from dregcli.columns import DECAY, WINDOW_STEPS, TrackedColumn, at_floor, moving_snr_floor, snr_floor, tracked_columns
from dregcli.engine.checksum import tensors_sha256
from dregcli.engine.diagnostics.gradient_report import _moments as reported_moments
from dregcli.engine.diagnostics.measurement import _variance_and_snr
from dregcli.engine.examples import ResidentExamples
from dregcli.engine.execution import Execution
from dregcli.engine.moments import GroupMoments, RunningMoments
from dregcli.engine.pairs import Pair, estimators_of, resolve_pair
from dregcli.engine.pixels import Dynamic
from dregcli.engine.tracking import TRACKED, Tracker
from dregcli.engine.training import Trainer
from dregcli.engine.words import parse_scheduled
from tests.support.dense import GivenNoise, dense_gradients
from tests.support.exact import small_vae
from tests.support.screened_batch import EXECUTIONS

K, LEVELS = 32, 16
STL, CV, RWS = (resolve_pair(*words, K) for words in (("iwae", "stl"), ("iwae", "dreg-cv"), ("rws", "dreg")))
Vectors = list[dict[str, Tensor]]


def _moments(vectors: Vectors, decay: float = DECAY) -> RunningMoments:
    moments = RunningMoments(decay)
    for each in vectors:
        moments.add({name: part.clone() for name, part in each.items()})
    return moments


def _coordinates(vectors: Vectors) -> np.ndarray:
    """(n, P, coordinates)."""
    return np.stack(
        [np.concatenate([part.flatten(1).double() for part in each.values()], axis=1) for each in vectors]
    )


def _plain(vectors: Vectors, ddof: int = 1) -> np.ndarray:
    """As ``_direct``, of vectors that count the same."""
    x = _coordinates(vectors)
    variance = x.var(axis=0, ddof=ddof)
    return np.stack([variance.mean(axis=1), (np.abs(x.mean(axis=0)) / np.sqrt(variance)).mean(axis=1)])


def _direct(vectors: Vectors) -> np.ndarray:
    """Mean variance and mean |mean| / sd, (2, P), by weights 0.99^(t - i) written down."""
    x = _coordinates(vectors)
    w = 0.99 ** np.arange(len(x))[::-1, None, None]
    total = w.sum()
    mean = (w * x).sum(axis=0) / total
    variance = (w * (x - mean) ** 2).sum(axis=0) / (total - (w**2).sum() / total)
    constant = np.ptp(x, axis=0) == 0.0
    ratio = np.abs(mean) / np.sqrt(np.where(constant, 1.0, variance))
    return np.stack([np.where(constant, 0.0, variance).mean(axis=1), ratio.mean(axis=1, where=~constant)])


def _sequence(n: int, *, p: int = 3, offset: float = 1.0) -> Vectors:
    generator = torch.Generator().manual_seed(n)

    def drawn(*shape: int) -> Tensor:
        return offset + torch.randn(p, *shape, generator=generator, dtype=torch.float64)

    return [{"a.weight": drawn(4, 2), "a.bias": drawn(5), "one": drawn(1)} for _ in range(n)]


@pytest.mark.parametrize("n", [2, 3, 50, 700])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e3])
def test_moments_are_those_of_explicit_weights(n: int, offset: float) -> None:
    vectors = _sequence(n, offset=offset)
    np.testing.assert_allclose(_moments(vectors).variance_and_snr(), _direct(vectors), rtol=1e-10)


@pytest.mark.parametrize("n", [2, 3, 50])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_vectors_that_count_the_same_have_the_plain_unbiased_variance(n: int, offset: float) -> None:
    """The twin divides by n."""
    vectors = _sequence(n, offset=offset)
    found = _moments(vectors, decay=1.0)
    assert found.count == n
    np.testing.assert_allclose(found.variance_and_snr(), _plain(vectors), rtol=1e-10)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(found.variance_and_snr(), _plain(vectors, ddof=0), rtol=1e-3)


def test_parts_are_worked_on_in_blocks_to_the_last_coordinate() -> None:
    """Of a part that is two blocks and a rest, laid out in any way; the vectors stay what they are."""
    generator = torch.Generator().manual_seed(0)
    vectors = [{"x": torch.randn(70_001, 2, generator=generator, dtype=torch.float64).T} for _ in range(3)]
    kept = [each["x"].clone() for each in vectors]
    moments = RunningMoments(1.0)
    for each in vectors:
        moments.add(each)
    np.testing.assert_allclose(moments.variance_and_snr(), _plain(vectors), rtol=1e-10)
    assert all(torch.equal(each["x"], was) for each, was in zip(vectors, kept, strict=True))


@pytest.mark.parametrize("decay", [DECAY, 1.0])
def test_one_vector_has_no_variance(decay: float) -> None:
    moments = RunningMoments(decay)
    assert not moments.started
    moments.add(_sequence(1)[0])
    assert moments.started
    assert moments.variance_and_snr().isnan().all()


def test_coordinates_that_never_vary_have_no_ratio_wherever_it_is_measured() -> None:
    """Exactly: 0.1 has no finite binary expansion, and its weighted mean must be it to the bit.

    Dead units are of that kind. Counted as 0, as they were here and nowhere else, an SNR told how many there were.
    """
    vectors = [{**each, "same": torch.full((3, 7), 0.1, dtype=torch.float64)} for each in _sequence(50)]
    variance, snr = _moments(vectors).variance_and_snr()
    np.testing.assert_allclose([variance, snr], _direct(vectors), rtol=1e-10)
    without = [{name: part for name, part in each.items() if name != "same"} for each in vectors]
    np.testing.assert_allclose(snr, _direct(without)[1], rtol=1e-10)
    np.testing.assert_allclose(variance, _direct(without)[0] * 14 / 21, rtol=1e-10)
    alone = _moments([{"same": each["same"]} for each in vectors]).variance_and_snr()
    assert alone[0].tolist() == [0.0] * 3
    assert alone[1].isnan().all(), "nothing varies: there is no ratio"
    # `dreg variance` and `gradient_report` say the same of the same vectors.
    plain = _moments(vectors, decay=1.0).variance_and_snr()
    rows = torch.from_numpy(_coordinates(vectors))
    groups, reported = GroupMoments(1), RunningMoments()
    groups.add(0, rows.transpose(0, 1))
    for row in rows[:, 0]:
        reported.add({"all": row[None]})
    assert _variance_and_snr(*groups.merged(0, [0]))[:2] == pytest.approx(plain[:, 0].tolist(), rel=1e-10)
    both = dict(zip(("variance", "snr"), plain[:, 0].tolist(), strict=True))
    assert vars(reported_moments(reported)) == pytest.approx(both)


def test_the_floors_are_what_pure_noise_measures() -> None:
    """Over 20,000 coordinates the mean of |mean| / sd has a relative deviation of .5 %: 5 of them, and .8 % of sd."""
    generator = torch.Generator().manual_seed(0)
    for decay, n, floor in ((1.0, 60, snr_floor(60)), (DECAY, 40, moving_snr_floor(40)), (DECAY, 600, 0.0566)):
        moments = RunningMoments(decay)
        for _ in range(n):
            moments.add({"x": torch.randn(1, 20_000, generator=generator)})
        found = float(moments.variance_and_snr()[1, 0])
        assert found == pytest.approx(floor, rel=0.04), (decay, n)
        assert at_floor(found, floor)
        assert not at_floor(2.6 * floor, floor)
    assert moving_snr_floor(1e6) == pytest.approx(math.sqrt(2.0 / (math.pi * 199)))


def test_a_coordinate_that_hardly_varies_keeps_its_variance_in_float32() -> None:
    """The twin subtracts the square of an average from an average of squares, and keeps no digit."""
    generator = torch.Generator().manual_seed(0)
    vectors = [{"x": 1e3 + 0.01 * torch.randn(1, 50, generator=generator)} for _ in range(200)]
    direct = _direct(vectors)
    np.testing.assert_allclose(_moments(vectors).variance_and_snr()[0], direct[0], rtol=0.02)
    mean, square = torch.zeros(50), torch.zeros(50)
    for i, each in enumerate(vectors):
        share = 1.0 / sum(0.99**j for j in range(i + 1))
        mean, square = mean + share * (each["x"][0] - mean), square + share * (each["x"][0].square() - square)
    assert abs(float((square - mean.square()).mean()) / direct[0, 0] - 1.0) > 1.0


@pytest.mark.parametrize("n", [3, 5, 40])
def test_the_variance_is_unbiased(n: int) -> None:
    """4,000 independent sequences of n standard normals, within 6 standard errors: one seed in 10^8 fails by chance.

    The estimate is x'Ax with A = (diag w - ww'/W) / (W - sum w^2 / W), so its variance is 2 tr A^2.
    """
    sequences = 4_000
    drawn = torch.randn(n, 1, sequences, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    found = float(_moments([{"x": each} for each in drawn]).variance_and_snr()[0])
    w = 0.99 ** np.arange(n)[::-1]
    rest = w.sum() - (w**2).sum() / w.sum()
    a = (np.diag(w) - np.outer(w, w) / w.sum()) / rest
    bound = 6.0 * math.sqrt(2.0 * np.trace(a @ a) / sequences)
    assert abs(found - 1.0) < bound
    if n < 10:  # the twin divides by the sum of weights; of many vectors that is nearly the same
        assert abs(found * rest / w.sum() - 1.0) > bound


def test_moments_put_back_continue_bit_for_bit() -> None:
    vectors = _sequence(20)
    straight, cut = _moments(vectors), _moments(vectors[:8])
    tensors, put_back = cut.tensors(), RunningMoments(DECAY)
    cut.add({name: part.clone() for name, part in vectors[0].items()})  # must not reach what was taken
    put_back.load(tensors, torch.device("cpu"))
    for each in vectors[8:]:
        put_back.add({name: part.clone() for name, part in each.items()})
    assert tensors_sha256(put_back.tensors()) == tensors_sha256(straight.tensors())
    assert torch.equal(put_back.variance_and_snr(), straight.variance_and_snr())


def _trainer(
    tracked: Sequence[Pair] = (),
    *,
    kind: type[Trainer] = Trainer,
    start: str = "iwae",
    word: str = "dreg",
    k: int = K,
    **changes,
) -> Trainer:
    stored = torch.randint(0, LEVELS + 1, (20, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    objective = parse_scheduled(start)
    settings = {"k": k, "batch_size": 4, "lr": 0.01, "seed": 1, "tracked": tracked, "objective": objective, **changes}
    model = small_vae() if kind is _Float64 else small_vae().float()
    return kind(model, resolve_pair(objective.start, word, k), ResidentExamples(stored), Dynamic(LEVELS), **settings)


class _Float64(Trainer):
    """Float64 throughout, on the same noise."""

    def _drawn(self, *given):
        drawn = super()._drawn(*given)
        noise = GivenNoise(drawn.draws.noise(0, drawn.draws.k).double())
        return drawn._replace(pixels=drawn.pixels.double(), draws=noise)


@dataclass
class _Replay:
    """Every pair's gradients at every step's parameters, by themselves, before the step is taken."""

    pairs: dict[str, Pair]
    vectors: dict[str, Vectors] = field(default_factory=lambda: {"model": [], "posterior": []})

    def advance(self, trainer: Trainer, *, learning: str = "") -> None:
        pixels, draws, _ = trainer._drawn()
        noise = draws.noise(0, draws.k)
        first, current = trainer.trained.learned.pair.objective, trainer._pair(trainer.step).objective
        now = [replace(pair, objective=current) if pair.objective == first else pair for pair in self.pairs.values()]
        now = [
            trainer.trained.learned.pair if name == learning else p for name, p in zip(self.pairs, now, strict=True)
        ]
        found = [dense_gradients(trainer.model, pixels, noise, pair) for pair in now]
        for network, vectors in self.vectors.items():
            each = [getattr(one, network) for one in found]
            vectors.append({name: torch.stack([one[name] for one in each]) for name in each[0]})
        trainer.advance()

    def row(self, window: int) -> dict[str, float]:
        row = {WINDOW_STEPS: float(window)}
        for network, vectors in self.vectors.items():
            for end, (variances, ratios) in (("", _direct(vectors)), ("_window", _plain(vectors[-window:]))):
                for i, name in enumerate(self.pairs):
                    row |= {f"{name}.{network}_variance{end}": variances[i], f"{name}.{network}_snr{end}": ratios[i]}
        return row


def _off(trainer: Trainer, replay: _Replay, steps: int, *, learning: str = "") -> float:
    """The largest relative difference between a trainer's row and the replay's, of the second of two windows."""
    for _ in range(2):
        replay.advance(trainer, learning=learning)
    assert trainer.row()[WINDOW_STEPS] == 2.0
    for _ in range(steps - 2):
        replay.advance(trainer, learning=learning)
    row, expected = trainer.row(), replay.row(steps - 2)
    found = {column.name for column in tracked_columns(row)}
    assert found == set(expected) - {WINDOW_STEPS}
    assert all(column == tracked_columns([column.name])[0] for column in tracked_columns(row))
    return max(abs(row[name] - value) / abs(value) for name, value in expected.items())


OTHERS = {
    "rws-dreg": ("rws", "dreg"),
    "jvi-reparam": ("jvi", "reparam"),
    "rws-reparam": ("rws", "reparam"),
    "vr-iwae:alpha=0.25-dreg": ("vr-iwae:alpha=0.25", "dreg"),
    "dreg-alpha:alpha=0.25": ("iwae", "dreg-alpha:alpha=0.25"),
    "ovis-mc:samples=2,exclusive=true": ("iwae", "ovis-mc:samples=2,exclusive=true"),
}


def test_every_pair_is_measured_as_it_would_be_alone() -> None:
    pairs = {str(each.name): Pair(STL.objective, each) for each in estimators_of(STL.objective)}
    pairs |= {name: resolve_pair(*words, 5) for name, words in OTHERS.items()}
    trainer = _trainer(list(pairs.values()), kind=_Float64, k=5)
    assert _off(trainer, _Replay(pairs), 6) < 1e-9


def test_the_trained_pair_is_measured_as_it_learns_and_its_like_are_not() -> None:
    at_one = resolve_pair("iwae", "dreg-cv:beta=1", K)
    pairs = {"dreg-cv": CV, "dreg-cv:alpha=0.0,beta=1.0,gamma=0.0,delta=0.0": at_one}
    options = {"kind": _Float64, "word": "dreg-cv", "lr": 0.1}
    assert _off(_trainer(list(pairs.values()), **options), _Replay(pairs), 6, learning="dreg-cv") < 1e-9
    assert _off(_trainer(list(pairs.values()), **options), _Replay(pairs), 6) > 1e-3, "the replay's stays at 0"


MERGING = "vr-iwae:alpha=0.9->0.25@3:linear"
"""At the fourth step it becomes the objective of a tracked pair, in the middle of the second window."""


def test_an_objective_that_becomes_another_tracked_one_keeps_a_row_of_its_own() -> None:
    """And states from before the two are one, and from afterwards, continue bit for bit."""
    words = {
        "rws-dreg": ("rws", "dreg"),
        "dreg": ("vr-iwae:alpha=0.9", "dreg"),
        "vr-iwae:alpha=0.25-stl": ("vr-iwae:alpha=0.25", "stl"),
        "jvi-reparam": ("jvi", "reparam"),
    }
    pairs = {name: resolve_pair(*each, 4) for name, each in words.items()}
    options = {"kind": _Float64, "start": MERGING, "k": 4}
    straight, cut = (_trainer(list(pairs.values()), **options) for _ in range(2))
    assert _off(straight, _Replay(pairs), 7) < 1e-9
    for step in range(9):
        if step in (2, 7):
            cut.row()
        if step in (1, 3, 5):
            state, cut = cut.state(), _trainer(list(pairs.values()), **options)
            cut.load(state.step, state.model, state.optimizer, state.window)
        cut.advance()
    for _ in range(2):
        straight.advance()
    assert tensors_sha256(cut.state().optimizer) == tensors_sha256(straight.state().optimizer)
    assert cut.row() == straight.row()


class _Rolled(Tracker):
    """The wrong twin: measures every pair with the next one's weights."""

    def add(self, step, current, *, train_model):
        own, self._pairs = self._pairs, (*self._pairs[1:], self._pairs[0])
        super().add(step, current, train_model=train_model)
        self._pairs = own


class _Late(Tracker):
    """Another: of the gradients of phi it takes the last step's."""

    def add(self, step, current, *, train_model):
        super().add(getattr(self, "last", step), current, train_model=train_model)
        self.last = step


@pytest.mark.parametrize("twin", [_Rolled, _Late])
def test_a_tracker_that_measures_something_else_is_caught(twin: type[Tracker]) -> None:
    pairs = {"stl": STL, "rws-dreg": RWS}
    right, wrong = (_trainer(list(pairs.values()), kind=_Float64) for _ in range(2))
    wrong.trained.tracker = twin(list(pairs.values()), wrong.trained.learned.pair, torch.device("cpu"))
    assert _off(right, _Replay(pairs), 4) < 1e-9
    assert _off(wrong, _Replay(pairs), 4) > 1e-3


@pytest.mark.parametrize("name", ["dense in chunks", "screened", "screened in chunks"])
def test_every_execution_measures_the_dense_gradients(name: str) -> None:
    """At a learning rate of 0, so that all see the same parameters; and with screening that keeps all that counts."""
    execution = Execution(EXECUTIONS[name].backward, inflation=1e-9, k_chunk=EXECUTIONS[name].k_chunk)
    rows = []
    for how in (Execution(), execution):
        trainer = _trainer([STL, CV, RWS], lr=0.0, execution=how)
        for _ in range(4):
            trainer.advance()
        rows.append({column: value for column, value in trainer.row().items() if "." in column})
    assert rows[1] == pytest.approx(rows[0], rel=1e-4)


@pytest.mark.parametrize("word", ["dreg", "dreg-cv", "dreg-cv frozen"])
@pytest.mark.parametrize("execution", EXECUTIONS)
def test_training_does_not_notice(word: str, execution: str) -> None:
    word, _, frozen = word.partition(" ")
    options = {"word": word, "execution": EXECUTIONS[execution], "train_model": not frozen}
    plain, tracking = _trainer(**options), _trainer([CV, STL, RWS], **options)
    for _ in range(3):
        for _ in range(2):
            plain.advance()
            tracking.advance()
        row, seen = plain.row(), tracking.row()
        assert {name: seen[name] for name in row} == row
        extra = set(seen) - set(row)
        assert {name.partition(".")[0] for name in extra} == {"stl", "rws-dreg", "dreg-cv", WINDOW_STEPS}
        assert all(math.isfinite(seen[name]) for name in extra)
        assert any(".model_" in name for name in extra) == (not frozen)
    a, b = plain.state(), tracking.state()
    assert tensors_sha256(a.model) == tensors_sha256(b.model)
    own = {name: each for name, each in b.optimizer.items() if not name.startswith(TRACKED)}
    assert tensors_sha256(a.optimizer) == tensors_sha256(own)
    assert (a.window, a.step) == (b.window, b.step)


@pytest.mark.parametrize("done", [0, 3])
@pytest.mark.parametrize("execution", ["dense", "screened in bfloat16"])
def test_a_state_on_the_way_continues_bit_for_bit(execution: str, done: int) -> None:
    straight, first, second = (
        _trainer([CV, STL, RWS], word="dreg-cv", execution=EXECUTIONS[execution]) for _ in range(3)
    )
    for _ in range(8):
        straight.advance()
    for _ in range(done):
        first.advance()
    state = first.state()
    first.advance()  # what happens after the state was taken must not reach it
    second.advance()  # and what it has seen before must not stay
    second.load(state.step, state.model, state.optimizer, state.window)
    for _ in range(8 - done):
        second.advance()
    assert tensors_sha256(second.state().optimizer) == tensors_sha256(straight.state().optimizer)
    assert second.row() == straight.row()


WINDOWS = (f"{TRACKED}model-window/", f"{TRACKED}posterior-window/")


def test_a_state_without_its_windows_is_refused() -> None:
    trainer = _trainer([CV, STL])
    trainer.advance()
    state = trainer.state()
    part = {name: each for name, each in state.optimizer.items() if not name.startswith(WINDOWS)}
    assert 0 < len(part) < len(state.optimizer)
    with pytest.raises(KeyError):
        _trainer([CV, STL]).load(state.step, state.model, part, state.window)


def test_a_window_of_one_step_has_no_variance_and_the_next_begins_at_nothing() -> None:
    trainer = _trainer([CV, STL])
    for count in (2, 1, 3):
        for _ in range(count):
            trainer.advance()
        row = trainer.row()
        assert row[WINDOW_STEPS] == count
        for column in tracked_columns(row):
            assert math.isnan(row[column.name]) == (column.windowed and count == 1), column


def test_columns_are_known_by_their_names() -> None:
    names = [
        "step",
        "bound",
        WINDOW_STEPS,
        "dreg-cv.alpha",
        "stl.model_snr",
        "vr-iwae:alpha=0.25-dreg.posterior_variance_window",
    ]
    assert tracked_columns([*names, ".model_snr", "stl.model_snr_windows", "seconds"]) == [
        TrackedColumn("stl", "model", "snr", windowed=False),
        TrackedColumn("vr-iwae:alpha=0.25-dreg", "posterior", "variance", windowed=True),
    ]
    assert [each.name for each in tracked_columns(names)] == names[-2:]


def test_a_state_without_moments_cannot_continue_them_and_moments_not_wanted_are_left() -> None:
    plain, tracking = _trainer(), _trainer([CV])
    for each in (plain, tracking):
        each.advance()
    bare, full = plain.state(), tracking.state()
    assert not any(name.startswith(TRACKED) for name in bare.optimizer)
    assert any(name.startswith(TRACKED + "posterior-waiting/enc") for name in full.optimizer)
    with pytest.raises(KeyError):
        _trainer([CV]).load(bare.step, bare.model, bare.optimizer, bare.window)
    without = _trainer()
    without.load(full.step, full.model, full.optimizer, full.window)
    assert tensors_sha256(without.state().optimizer) == tensors_sha256(bare.optimizer)


def test_moments_loaded_in_another_order_measure_the_same_to_the_last_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        moments, again = RunningMoments(DECAY), RunningMoments(DECAY)
        for _ in range(3):
            moments.add({f"part{i}": torch.randn(2, 1 + i, generator=generator).double() ** 3 for i in range(12)})
        tensors = moments.tensors()
        again.load({name: tensors[name] for name in reversed(tensors)}, torch.device("cpu"))
        assert torch.equal(again.variance_and_snr(), moments.variance_and_snr())
