"""Check that autograd's derivatives are the derivatives: nothing that matters is cut from the graph.

In float64 each log-density's derivative along a random direction is compared with the change of its value. So a cut
is found also where another way through the graph is left.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dregcli.engine.checks.finding import Finding, Place, error, program_place, warning
from dregcli.engine.checks.numbers import listed
from dregcli.engine.checks.row_patterns import rows_differ
from dregcli.engine.checks.runs import Stopped, total
from dregcli.engine.checks.subject import EXAMPLES, Subject
from dregcli.engine.checks.watch import Watch, is_detached, place_of
from dregcli.engine.posteriors import Unfolded
from dregcli.engine.programs.families import is_discrete, words_of
from dregcli.engine.programs.trial import REGISTER, unregistered_in_words
from dregcli.engine.reach import Reach, nodes_behind

_STEP = 1e-5
"""Size of the step along a direction, relative to a tensor's own size."""

_TOLERANCE = 1e-2
"""Largest difference between the two derivatives, relative to their size."""

_SMALLEST = 1e-7
"""Smallest difference that counts, relative to the log-densities."""

_MOST_ALONE = 64
"""Largest number of parameters that are changed one after the other."""

_NUDGE = 0.05
"""Size of the change by which a parameter's effect is seen."""

_WHY = "a part of the graph is cut, or a function has a gradient of its own."
_ON_PURPOSE = "If it is on purpose, such as a straight-through estimate, know that every gradient is biased."
_CUT = (
    "Remove .detach(), .data, torch.no_grad(), checkpoints with use_reentrant=True and numbers taken out of tensors "
    "on the way from {} to {}."
)


@dataclass(frozen=True)
class Ownership:
    """Which parameters belong to what, by name.

    Attributes:
        theta: parameters that log p(x, z) reaches.
        phi: parameters that the samples or log q(z | x) reach.
        unreached: parameters that require grad and belong to neither.
        frozen: parameters that do not require grad.
    """

    theta: tuple[str, ...]
    phi: tuple[str, ...]
    unreached: tuple[str, ...]
    frozen: tuple[str, ...]

    @property
    def shared(self) -> tuple[str, ...]:
        """Parameters of both."""
        return tuple(name for name in self.theta if name in self.phi)


def ownership(subject: Subject) -> Ownership:
    """Find theta and phi by autograd's graph."""
    p = Reach.of(total(subject.model.log_p)).leaves if subject.model.log_p else frozenset[Tensor]()
    q = frozenset[Tensor]()
    for each in subject.posterior.drawn.values():
        if each.located:
            q = q.union(Reach.of(each.located.log_q).leaves, Reach.of(each.located.live).leaves)
    named = dict(subject.module.named_parameters())
    trained = {name: each for name, each in named.items() if each.requires_grad}
    return Ownership(
        tuple(name for name, each in trained.items() if each in p),
        tuple(name for name, each in trained.items() if each in q),
        tuple(name for name, each in trained.items() if each not in p and each not in q),
        tuple(name for name, each in named.items() if not each.requires_grad),
    )


def check_graphs(subject: Subject, *, thorough: bool = True) -> list[Finding]:
    """Look for cuts between parameters, samples and densities, and for parameters that nothing reaches.

    Args:
        subject: the model.
        thorough: whether each parameter's derivative is compared too, which needs a few runs for each parameter.
    """
    runs = [_run(subject), _run(subject)]
    if kept := [*_kept(subject, *runs), *_unregistered(subject, *runs)]:
        return kept
    exact = subject.exact
    trial = subject if isinstance(exact, str) else exact
    found = [*_by_latents(trial), *_samples(trial), *_unreached(trial)]
    if found or not (trial.posterior.is_whole and trial.model.is_whole):
        return found
    if isinstance(exact, str):
        what = "Derivatives were not compared with changes of the densities, since the model does not run in "
        what += f"float64: {exact}"
        change = "Give tensors that the programs make the type of their inputs, as by x.new_zeros or .to(x), and "
        change += "check again."
        return [warning("not-compared", what, change)]
    return [*_by_parameters(exact, "model"), *_by_parameters(exact, "posterior")] if thorough else []


@dataclass(frozen=True)
class _Run:
    """One run of both programs.

    Attributes:
        densities: log-densities, by their names in messages.
        lives: samples on their graphs.
        latents: the samples' leaves.
    """

    densities: dict[str, Tensor]
    lives: list[Tensor]
    latents: frozenset[Tensor]

    @property
    def leaves(self) -> frozenset[Tensor]:
        """The leaves that the run reaches, without the samples."""
        reached = (Reach.of(each).leaves for each in (*self.densities.values(), *self.lives))
        return frozenset[Tensor]().union(*reached) - self.latents


def _run(subject: Subject) -> _Run:
    drawn = subject.draw()
    of_q = {f"log q of '{name}'": each for name, each in drawn.log_q.items()}
    located = [each.located for each in drawn.drawn.values() if each.located]
    densities = {**of_q, **subject.programs.model(drawn.values, subject.few).log_p}
    return _Run(densities, [each.live for each in located], frozenset(each.leaf for each in located))


def _unregistered(subject: Subject, one: _Run, other: _Run) -> list[Finding]:
    """Look for leaves that every run reaches and that are no parameters. A run may make leaves for itself."""
    if found := (one.leaves & other.leaves) - frozenset(subject.module.parameters()):
        what = unregistered_in_words([tuple(each.shape) for each in found])
        return [error("unregistered", f"{what[0].upper()}{what[1:]}", f"{REGISTER[0].upper()}{REGISTER[1:]}.")]
    return []


def _kept(subject: Subject, one: _Run, other: _Run) -> list[Finding]:
    """Look for tensors that were computed from parameters before the programs ran: two runs' graphs share them."""
    names = {each: name for name, each in subject.module.named_parameters()}
    for label, density in one.densities.items():
        second = nodes_behind(other.densities.get(label, density.detach()))
        stale = set[Tensor]().union(*(leaves for node, leaves in nodes_behind(density).items() if node in second))
        if some := [name for each, name in names.items() if each in stale]:
            what = f"{label} uses a tensor that was computed from {listed(some)} before the program ran, so that it "
            what += "stays as it is while these parameters learn."
            change = "Compute it in the program, each time: keep parameters and buffers in self, not what follows "
            change += "from them, such as a distribution made in the constructor."
            program = "posterior" if label.startswith("log q") else "model"
            return [error("kept", what, change, program_place(subject.module, program))]
    return []


def _by_latents(subject: Subject) -> list[Finding]:
    """Compare the derivatives of each log-density by each latent that has a path."""
    drawn, programs = subject.posterior.drawn, subject.programs
    paths = [name for name, each in drawn.items() if each.located and each.located.leaf.requires_grad]
    leaves = {name: z.clone().requires_grad_(name in paths) for name, z in subject.z.items()}

    def densities(z: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = dict(programs.model(z, subject.few).log_p)
        try:
            of_q = programs.log_q_at(subject.few, z)
            found |= {f"log q of '{name}'": each for name, each in of_q.items()}
        except Stopped:  # a density without an inverse
            pass
        return found

    found: list[Finding] = []
    live, step = densities(leaves), _STEP if subject.is_exact else _NUDGE
    for name in paths:
        direction = _direction(leaves[name]) * subject.z[name].abs()
        with torch.no_grad():
            sides = [
                densities({**subject.z, name: subject.z[name] + sign * step * direction}) for sign in (1.0, -1.0)
            ]
        for label, density in live.items():
            numeric = (sides[0][label] - sides[1][label]).sum() / (2.0 * step)
            slope = _gradients(density, [leaves[name]])[0]
            along = torch.zeros_like(numeric) if slope is None else (slope * direction).sum()
            if (not subject.is_exact and slope is not None) or not _differ(along, numeric, density):
                continue
            program = "posterior" if label.startswith("log q") else "model"
            place, change = _cut_place(subject, program), _CUT.format(f"'{name}'", label)
            if slope is None:
                what = f"{label} depends on the latent '{name}', but autograd does not see it: the graph is cut."
                found.append(error("detached", what, change, place))
            else:
                what = f"Autograd's derivative of {label} by the latent '{name}' is not its derivative: {_WHY}"
                found.append(warning("gradient", what, f"{change} {_ON_PURPOSE}", place))
    return found


def _samples(subject: Subject) -> list[Finding]:
    """Look for parameters that move a sample and its density, but that the sample's graph does not reach.

    A graph may also reach them where there is no derivative: through samples of a discrete family.
    """
    named = {name: each for name, each in subject.module.named_parameters() if each.requires_grad}
    found: list[Finding] = []
    for latent, drawn in subject.posterior.drawn.items():
        if drawn.located is None or latent in _discrete(subject):
            continue
        if is_discrete(drawn.q):
            family = words_of(drawn.q)
            what = f"q of '{latent}' ({family}) is discrete but has rsample, so that its path is no derivative."
            change = "Take a family without rsample, such as OneHotCategorical, and an estimator without a path."
            found.append(warning("gradient", what, f"{change} {_ON_PURPOSE}", drawn.place))
        reached = Reach.of(drawn.located.live).leaves
        cut = [n for n, each in named.items() if each in Reach.of(drawn.located.log_q).leaves - reached]
        moves = _moving(subject, cut, lambda latent=latent: [subject.draw().drawn[latent].value.detach()])
        if moves:
            what = f"The samples of '{latent}' depend on {listed(moves)}, but autograd does not see it: rsample, or "
            what += "what the distribution is made of, is cut from the graph."
            change = (
                "Let rsample keep the graph of the distribution's parameters: no .detach(), and no no_grad in it."
            )
            found.append(error("detached", what, change, _cut_place(subject, "posterior") or drawn.place))
    return found


def _unreached(subject: Subject) -> list[Finding]:
    """Look for parameters that no density and no sample reaches; those that change one are cut from the graph."""
    names = list(ownership(subject).unreached)
    if not names or not (subject.posterior.is_whole and subject.model.is_whole):
        return []

    def of_posterior() -> list[Tensor]:
        posterior = subject.draw()
        return [each.detach() for each in (*posterior.values.values(), *posterior.log_q.values())]

    def of_model() -> list[Tensor]:
        return [each.detach() for each in subject.programs.model(subject.z, subject.few).log_p.values()]

    found: list[Finding] = []
    moving: set[str] = set()
    for program, values, of in (("posterior", of_posterior, "q(z | x)"), ("model", of_model, "p(x, z)")):
        if some := _moving(subject, names, values):
            moving.update(some)
            what = f"{of} depends on {listed(some)}, but autograd does not see it: these parameters never learn."
            change = _CUT.format("these parameters", of)
            found.append(error("detached", what, change, _cut_place(subject, program)))
    if still := [name for name in names if name not in moving]:
        what = (
            f"Nothing reaches {listed(still)} in a trial of {EXAMPLES} examples: if no batch uses them, they never "
        )
        what += "learn."
        change = "Use them, remove them, or set requires_grad_(False). If only other examples use them, all is well."
        found.append(warning("unreached", what, change))
    return found


def _by_parameters(subject: Subject, program: str) -> list[Finding]:
    """Compare the derivative of a program's log-density by each parameter."""
    named = {name: each for name, each in subject.module.named_parameters() if each.requires_grad}

    # Few rows are enough for an identity, and there are several runs for each parameter.
    few, z = subject.few[:2], {name: each[:1, :2] for name, each in subject.z.items()}

    def density() -> Tensor:
        if program == "posterior":
            return total(subject.programs.log_q_at(few, z))
        return total(subject.programs.model(z, few).log_p)

    with torch.no_grad():
        # Away from kinks: with biases of 0 and black pixels a ReLU's input is exactly 0.
        for each in named.values():
            each += _NUDGE * _size(each) * _direction(each)
    try:
        live = density()
        gradients = _gradients(live, list(named.values()))
        wrong: list[str] = []
        for (name, each), gradient in zip(named.items(), gradients, strict=True):
            move = _STEP * _size(each) * _direction(each)
            sides: list[Tensor] = []
            with torch.no_grad():
                for sign in (1.0, -2.0, 1.0):
                    each += sign * move
                    sides.append(density() if len(sides) < 2 else live)
            numeric = (sides[0] - sides[1]).sum() / 2.0
            along = torch.zeros_like(numeric) if gradient is None else (gradient * move).sum()
            if _differ(along / _STEP, numeric / _STEP, live):
                wrong.append(name)
    except Stopped:
        return []
    if not wrong:
        return []
    label = "log q(z | x)" if program == "posterior" else "log p(x, z)"
    what = f"Autograd's derivative of {label} by {listed(wrong)} is not its derivative: {_WHY}"
    change = f"{_CUT.format('these parameters', label)} {_ON_PURPOSE}"
    return [warning("gradient", what, change, _cut_place(subject, program))]


def _moving(subject: Subject, names: list[str], values: Callable[[], list[Tensor]]) -> list[str]:
    """Return the parameters among these that change the values."""
    named: dict[str, Tensor] = dict(subject.module.named_parameters())

    def change(some: list[str]) -> bool:
        kept = [named[name].detach().clone() for name in some]
        with torch.no_grad():
            before = values()
            for name in some:
                named[name] += _NUDGE * _size(named[name]) * _direction(named[name])
            after = values()
            for name, value in zip(some, kept, strict=True):
                named[name].copy_(value)
        return any(bool(rows_differ(one, other).any()) for one, other in zip(before, after, strict=True))

    if not names or not change(names):
        return []
    return [name for name in names if change([name])] if len(names) <= _MOST_ALONE else names


def _discrete(subject: Subject) -> list[str]:
    return [name for name, each in subject.posterior.drawn.items() if not Unfolded.of(each.q).base.has_rsample]


def _gradients(density: Tensor, inputs: list[Tensor]) -> list[Tensor | None]:
    if not density.requires_grad:
        return [None] * len(inputs)
    return list(torch.autograd.grad(density.sum(), inputs, retain_graph=True, allow_unused=True))


def _direction(like: Tensor) -> Tensor:
    """Return a random direction, always the same."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(0)).to(like)


def _size(value: Tensor) -> float:
    """Return a tensor's size by element, or a small number for a tensor of zeros."""
    return float(value.detach().square().mean().sqrt()) + 1e-2


def _differ(along: Tensor, numeric: Tensor, density: Tensor) -> bool:
    """Whether two derivatives differ by more than rounding and curvature can explain."""
    gap = (along - numeric).abs().sum()
    size = (along.abs() + numeric.abs()).sum()
    return bool(gap > _TOLERANCE * size) and bool(gap > _SMALLEST * (1.0 + density.detach().abs().sum()))


def _cut_place(subject: Subject, program: str) -> Place | None:
    """Return the place at which a program's graph ends."""
    with Watch(subject.programs.frames) as watch:
        if program == "posterior":
            subject.draw()
        else:
            z = {name: z.clone().requires_grad_(z.is_floating_point()) for name, z in subject.z.items()}
            subject.programs.model(z, subject.few)
    return place_of(watch.calls, is_detached) or program_place(subject.module, program)
