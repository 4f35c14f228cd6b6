"""The options of ``dreg eval``, and their faults."""

from dataclasses import dataclass

from dregcli.app.loading.stored import parse_checkpoint
from dregcli.app.models.request import AS_TRAINED, CodeRequest
from dregcli.app.planning.executing import decide_compile
from dregcli.app.planning.machine import float64_faults
from dregcli.defaults import ACTIVE_VARIANCE, EVALUATED_KS
from dregcli.engine.annealing import Annealing, number_faults
from dregcli.errors import Fault, SpecError
from dregcli.names import EvalMethod, EvalNoise, Split, unknown
from dregcli.specs.execution import AUTO, ExecutionSpec
from dregcli.specs.number_lists import parse_ks
from dregcli.specs.resolve import flag, setting_faults, spec_faults


@dataclass(frozen=True)
class EvalRequest:
    """A request to evaluate runs.

    Attributes:
        split: train, valid or test.
        k: samples per example, as typed: one number or several with commas.
        seed: seed of the evaluation's pixels and noise.
        noise: iid, antithetic or sobol.
        repeats: independent draws of all samples.
        n: number of examples from the start of the split; None means all for importance sampling, and
            ``ANNEALED_EXAMPLES`` for AIS.
        active_threshold: variance of a latent's mean above which the latent is active.
        method: importance or ais.
        steps: temperatures of AIS; None means the default.
        chains: chains of AIS for each example; None means the default.
        checkpoint: last, best or a step.
        device: auto, cpu, cuda, cuda:N or mps.
        threads: CPU threads for torch, or auto.
        k_chunk: samples that are computed at once, or auto.
        compile: auto, on or off.
        keep_weights: whether the run keeps all log-weights.
        code: what the user says about the code of the runs' models.
    """

    split: str = "test"
    k: str = EVALUATED_KS
    seed: int = 0
    noise: str = EvalNoise.IID.value
    repeats: int = 1
    n: int | None = None
    active_threshold: float = ACTIVE_VARIANCE
    method: str = EvalMethod.IMPORTANCE.value
    steps: int | None = None
    chains: int | None = None
    checkpoint: str = "last"
    device: str = "auto"
    threads: int | str = AUTO
    k_chunk: int | str = AUTO
    compile: str = AUTO
    keep_weights: bool = False
    code: CodeRequest = AS_TRAINED

    def faults(self) -> list[Fault]:
        """Return all faults of the options that do not depend on a run."""
        ks, faults = parse_ks(self.k)
        chunk = setting_faults(k_chunk=self.k_chunk)
        if not (faults or chunk) and self.k_chunk != AUTO:
            chunk = spec_faults({"k": ks[-1], "k_chunk": self.k_chunk}, ExecutionSpec)
        # The time that compilation saves depends on the run; whether a compiler is installed is known now.
        faults += chunk + decide_compile(self.compile, 0.0)[1]
        faults += setting_faults(device=self.device, threads=self.threads)
        if self.method == EvalMethod.AIS:
            faults += float64_faults("method", self.device, "chains are annealed in", "--device cpu")
        if self.noise == EvalNoise.SOBOL:
            faults += float64_faults("noise", self.device, "Sobol points are shifted in", "--device cpu")
        if self.split not in list(Split):
            faults.append(Fault("split", f"must be one of {', '.join(Split)}, got '{self.split}'."))
        if self.method not in list(EvalMethod):
            faults.append(Fault("method", unknown("method", self.method, EvalMethod)))
        if self.noise not in list(EvalNoise):
            faults.append(Fault("noise", unknown("noise", self.noise, EvalNoise)))
        elif self.noise != EvalNoise.IID and not faults:
            faults += self._faults_of_dependence()
        wrong = {
            "seed": (not 0 <= self.seed < 2**63, "must be at least 0 and less than 2^63"),
            "repeats": (self.repeats < 1, "must be at least 1"),
            "n": (self.n is not None and self.n < 1, "must be at least 1"),
            "active_threshold": (not self.active_threshold >= 0.0, "must be at least 0"),
        }
        if self.keep_weights and self.repeats > 1:
            faults.append(Fault("keep-weights", f"keeps one draw of the samples, got --repeats {self.repeats}."))
        for field, (is_so, why) in wrong.items():
            if is_so:
                name = "eval-seed" if field == "seed" else flag(field)
                faults.append(Fault(name, f"{why}, got {getattr(self, field)}."))
        if self.method == EvalMethod.AIS:
            numbers = self.annealing
            faults += number_faults(steps=numbers.steps, chains=numbers.chains, leapfrogs=numbers.leapfrogs)
        if self.method == EvalMethod.IMPORTANCE:
            of_ais = [name for name in ("steps", "chains") if getattr(self, name) is not None]
            message = "only applies with --method ais: leave it out, or give the method."
            faults += [Fault(name, message) for name in of_ais]
        try:
            parse_checkpoint(self.checkpoint)
        except SpecError as error:
            faults.extend(error.faults)
        return faults

    def _faults_of_dependence(self) -> list[Fault]:
        """Return what does not go with samples that depend on each other."""
        faults: list[Fault] = []
        *others, k = self.ks
        if others:
            message = f"gives one bound with --noise {self.noise}, got {self.k}: the bounds of a curve are those of "
            faults.append(Fault("k", f"{message}independent groups. Give one number."))
        elif self.noise == EvalNoise.ANTITHETIC and k % 2:
            message = f"must be even with --noise antithetic, because samples are pairs, got {k}."
            faults.append(Fault("k", message))
        if self.method == EvalMethod.AIS:
            faults.append(Fault("method", "ais is compared with independent samples: leave --noise out."))
        if self.keep_weights:
            faults.append(Fault("keep-weights", "keeps weights of independent samples: leave --noise out."))
        return faults

    @property
    def annealing(self) -> Annealing:
        """The settings of AIS."""
        given = {"steps": self.steps, "chains": self.chains}
        return Annealing(**{name: value for name, value in given.items() if value is not None})

    @property
    def ks(self) -> tuple[int, ...]:
        """Samples per example, ascending."""
        return parse_ks(self.k)[0]
