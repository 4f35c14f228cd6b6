"""Runs of a user's two programs that continue after a fault, so that all faults are found at once.

What the user's code gives is mended where the meaning is clear: axes that ``Independent`` should hold, for example.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from dregcli.engine.checks.finding import Finding, Place, error, program_place
from dregcli.engine.checks.mended import mended_likelihood, mended_prior, mended_q, of_densities, of_engine
from dregcli.engine.checks.watch import Frames
from dregcli.engine.draws import LatentNoise
from dregcli.engine.located import Located
from dregcli.engine.posteriors import Unfolded
from dregcli.engine.programs.contract import Draw
from dregcli.engine.programs.densities import require_unchanged, versions
from dregcli.engine.programs.latents import draw_latents, seed_generators
from dregcli.errors import DregError, SpecError

_SEED = 0

Densities = dict[str, Tensor]
"""Log-densities by the name of their latent, (K, B) each, nats."""


def total(densities: Densities) -> Tensor:
    """Return the sum of log-densities, (K, B)."""
    return cast("Tensor", sum(densities.values()))


class Stopped(Exception):
    """A program cannot be run to its end.

    Args:
        finding: the reason.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding


@dataclass
class Drawn:
    """A latent that the posterior's program drew.

    Attributes:
        q: its distribution, mended.
        place: line of the call of ``draw``.
        value: samples, (K, B, ...).
        located: the samples with their graphs and their density; None if they have none of the right shape.
    """

    q: Distribution
    place: Place | None
    value: Tensor
    located: Located | None = None


@dataclass
class Posterior:
    """One run of the posterior's program.

    Attributes:
        drawn: its latents, by name.
        findings: faults of shapes and names.
    """

    drawn: dict[str, Drawn] = field(default_factory=dict[str, Drawn])
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def values(self) -> dict[str, Tensor]:
        """Samples by name, as functions of their leaves."""
        return {name: each.value for name, each in self.drawn.items()}

    @property
    def log_q(self) -> Densities:
        """Log-densities that have the right shape."""
        return {name: each.located.log_q for name, each in self.drawn.items() if each.located}

    @property
    def is_whole(self) -> bool:
        """Whether every latent has a density of the right shape."""
        return len(self.log_q) == len(self.drawn) > 0


@dataclass
class Prior:
    """A latent's prior.

    Attributes:
        p: its distribution, mended.
        place: line of the call of ``given``.
        log_p: log-density of the samples; None if its shape is wrong.
    """

    p: Distribution
    place: Place | None
    log_p: Tensor | None = None


@dataclass
class ModelRun:
    """One run of the model's program.

    Attributes:
        priors: by name of the latent.
        likelihood: p(x | z), mended; None if there is none.
        log_x: log p(x | z); None if its shape is wrong.
        findings: faults of shapes and names.
    """

    priors: dict[str, Prior] = field(default_factory=dict[str, Prior])
    likelihood: Distribution | None = None
    log_x: Tensor | None = None
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def log_p(self) -> Densities:
        """All log-densities that have the right shape, by their names in messages."""
        found = {f"log p of '{name}'": each.log_p for name, each in self.priors.items() if each.log_p is not None}
        return found if self.log_x is None else {"log p(x | z)": self.log_x, **found}

    @property
    def is_whole(self) -> bool:
        """Whether every density has the right shape."""
        return self.log_x is not None and all(each.log_p is not None for each in self.priors.values())


class Programs:
    """A user's programs, run as they are.

    Args:
        module: the user's module.
        shape: shape of one example.
        validate: whether torch checks the arguments of distributions.
        is_exact: whether new tensors are float64.

    Attributes:
        frames: finds the user's lines.
        drew: whether the last run drew random numbers of its own.
    """

    def __init__(
        self, module: nn.Module, shape: tuple[int, ...], *, validate: bool = False, is_exact: bool = False
    ) -> None:
        self.module, self.shape = module, shape
        self.frames = Frames(module)
        self.drew = False
        self._validate, self._is_exact = validate, is_exact

    def draw(self, pixels: Tensor, noise: LatentNoise, k: int) -> Posterior:
        """Draw K samples of each example, at the engine's addresses.

        Raises:
            Stopped: the program raises an error, or draws nothing.
        """
        run, rows = Posterior(), (k, len(pixels))

        def program(x: Tensor, draw: Draw) -> None:
            def lenient(name: str, distribution: Distribution) -> Tensor:
                place = self.frames.place()
                q, findings = mended_q(distribution, rows, name, place)
                run.findings += findings
                try:
                    value = draw(name, q)
                    run.drawn[name] = Drawn(q, place, value, cast("Any", draw).located[name])
                except SpecError as refusal:
                    run.findings += of_engine(refusal, place)
                    run.drawn[name] = Drawn(q, place, _sampled(q, k).detach())
                return run.drawn[name].value

            cast("Any", self.module).posterior(x, lenient)

        with self._running("posterior"):
            try:
                draw_latents(program, self._images(pixels), noise, first=0, count=k, has_path=True)
            except SpecError as refusal:
                if not run.findings:  # else each call of draw was refused
                    place = program_place(self.module, "posterior")
                    raise Stopped(of_engine(refusal, place)[0]) from refusal
        return run

    def weigh_posterior(self, pixels: Tensor, drawn: Mapping[str, Tensor], bases: dict[str, Tensor]) -> Densities:
        """Return log q of fixed base samples, by latent; later latents depend on the samples in ``drawn``.

        Args:
            pixels: shape (B, D).
            drawn: what ``draw`` returns, by latent.
            bases: base samples, (K, B, ...); those that are missing are drawn and added.

        Raises:
            Stopped: the program raises an error.
        """
        found: Densities = {}

        def lenient(name: str, distribution: Distribution) -> Tensor:
            k, batch = drawn[name].shape[:2]
            q, _ = mended_q(distribution, (k, batch), name, None)
            unfolded = Unfolded.of(q)
            if name not in bases:
                bases[name] = _sampled(unfolded.base, k).detach()
            log_q = unfolded.log_density(unfolded.pushed(bases[name]))
            if log_q.shape == (k, batch):
                found[name] = log_q
            return drawn[name]

        with self._running("posterior"):
            cast("Any", self.module).posterior(self._images(pixels), lenient)
        return found

    def log_q_at(self, pixels: Tensor, z: Mapping[str, Tensor]) -> Densities:
        """Return log q of given samples, by latent.

        Raises:
            Stopped: the program raises an error, or a density has no inverse.
        """
        found: Densities = {}

        def lenient(name: str, distribution: Distribution) -> Tensor:
            rows = (z[name].shape[0], z[name].shape[1])
            log_q = mended_q(distribution, rows, name, None)[0].log_prob(z[name])
            if log_q.shape == rows:
                found[name] = log_q
            return z[name]

        with self._running("posterior"):
            cast("Any", self.module).posterior(self._images(pixels), lenient)
        return found

    def model(self, z: Mapping[str, Tensor], pixels: Tensor) -> ModelRun:
        """Run the model's program for samples (K, B, ...) of pixels (B, D).

        Raises:
            Stopped: the program raises an error.
        """
        run, first = ModelRun(), next(iter(z.values()))
        rows = (first.shape[0], first.shape[1])

        def given(name: str, distribution: Distribution) -> None:
            place = self.frames.place()
            if name not in z:
                what = f"given('{name}', ...) names no latent; the posterior draws {', '.join(z)}."
                run.findings.append(error("contract", what, "Use the names that the posterior draws.", place))
            elif name in run.priors:
                what = f"The prior of '{name}' is given twice."
                run.findings.append(error("contract", what, "Call given once for each latent.", place))
            else:
                p, findings = mended_prior(distribution, z[name], name, place)
                run.priors[name] = Prior(p, place)
                run.findings += findings
                log_p = p.log_prob(z[name])
                faults = of_densities("model", f"log p of '{name}'", log_p, rows, place)
                run.findings += faults
                run.priors[name].log_p = None if faults else log_p

        place, before = program_place(self.module, "model"), versions(z)
        with self._running("model"):
            p = cast("Any", self.module).model(dict(z), given)
            try:
                require_unchanged("model", z, before)
            except SpecError as refusal:
                raise Stopped(of_engine(refusal, place)[0]) from refusal
            for name in z:
                if name not in run.priors:
                    what, change = f"The prior of '{name}' is missing.", f"Call given('{name}', prior)."
                    run.findings.append(error("contract", what, change, place))
            if not isinstance(p, Distribution):
                what = f"It must return the distribution p(x | z), but it returns {type(p).__name__}."
                run.findings.append(error("contract", what, "Return a torch distribution.", place))
                return run
            run.likelihood, findings = mended_likelihood(p, rows, pixels.shape[1], place)
            run.findings += findings
            if run.likelihood is not None:
                event = pixels.reshape(-1, *run.likelihood.event_shape)
                log_x = run.likelihood.log_prob(event)
                faults = of_densities("model", "log p(x | z)", log_x, rows, place)
                run.findings += faults
                run.log_x = None if faults else log_x
        return run

    @property
    def _device(self) -> torch.device:
        """Device of the module; the CPU if it has no parameters."""
        return next((each.device for each in self.module.parameters()), torch.device("cpu"))

    def _images(self, pixels: Tensor) -> Tensor:
        return pixels.reshape(-1, *self.shape)

    @contextmanager
    def _running(self, program: str) -> Generator[None]:
        """Run a program with its own random numbers, which are the same in every run.

        Raises:
            Stopped: the block raised an error.
        """
        kind = cast("Any", Distribution)
        before, dtype = kind._validate_args, torch.get_default_dtype()
        Distribution.set_default_validate_args(self._validate)
        torch.set_default_dtype(torch.float64 if self._is_exact else dtype)
        device = self._device
        devices = [device] if device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices=devices):
                seed_generators(_SEED, device)
                states = _states(devices)
                yield
                self.drew = not all(map(torch.equal, states, _states(devices)))
        except (Stopped, DregError, torch.OutOfMemoryError):
            raise
        except Exception as failure:  # whatever the user's code raises
            place = self.frames.of_error(failure) or program_place(self.module, program)
            first = f"{type(failure).__name__}: {failure}".strip().partition("\n")[0]
            what = f"The program '{program}' fails: {first.removesuffix(', but found invalid values:')}"
            raise Stopped(error("fails", what, "Correct this line.", place)) from failure
        finally:
            Distribution.set_default_validate_args(before)
            torch.set_default_dtype(dtype)


def _states(devices: list[torch.device]) -> list[Tensor]:
    """Return the states of torch's generators."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(each) for each in devices)]


def _sampled(q: Distribution, k: int) -> Tensor:
    """Draw K samples of a distribution of batch_shape (B,), or one of each row of (K, B)."""
    return q.sample(torch.Size(() if len(q.batch_shape) == 2 else (k,)))
