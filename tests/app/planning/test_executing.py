"""From what is asked of the gradient executor to a spec without ``auto``; one that is resumed keeps what it has."""

from pathlib import Path
from typing import Any

import pytest

from dregcli.app.common import ranks
from dregcli.app.common.out_of_memory import out_of_memory
from dregcli.app.loading import bounds
from dregcli.app.loading.build import build_trainer
from dregcli.app.loading.named import find_run_to_resume
from dregcli.app.planning import executing, machine
from dregcli.app.planning.executing import Shape
from dregcli.app.planning.plan import Plan, resolve_plan, warnings_of
from dregcli.app.training import train
from dregcli.app.training.resuming import resume_plan
from dregcli.engine.models.base import Model
from dregcli.engine.training import Trainer
from dregcli.errors import DeviceUnavailable, SpecError, StoreWriteError
from dregcli.names import Backward, LikelihoodName, Precision, RunStatus, Shard, Task
from dregcli.specs.options import ParentSpec, RunOptions
from dregcli.specs.resolve import merge_options
from dregcli.specs.run import RunSpec, as_json
from dregcli.store.runs import RunStore
from tests.support.listener import Recorder

SMALL = {
    "k": 48,
    "steps": 6,
    "hidden": (6,),
    "latent_dim": 2,
    "checkpoint_every": 2,
    "eval_every": 0,
    "device": "cpu",
}
MIB = 1 << 20


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A known machine: caches for 16 of the samples of a batch of 32 digits, memory for a few."""
    monkeypatch.setattr(executing, "cache_size", lambda device: 64 * 4 * 32 * 16 // 3 + 1)
    monkeypatch.setattr(executing, "memory_at_hand", lambda device: MIB)
    monkeypatch.setattr(executing, "has_compiler", lambda: True)


def _plan(**flags: object) -> Plan:
    options, faults = merge_options(SMALL | flags, {}, None)
    return resolve_plan(options, Path("unused"), faults)


def _faults(**flags: object) -> list[str]:
    with pytest.raises(SpecError) as caught:
        _plan(**flags)
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("flags", "backward", "inflation", "precision", "chunk"),
    [
        ({}, "screened", 0.15, "float32", 16),
        ({"screen_inflation": 0.05}, "screened", 0.05, "float32", 16),
        ({"screen_precision": "bfloat16"}, "screened", 0.15, "bfloat16", 16),
        ({"k_chunk": 32}, "screened", 0.15, "float32", 32),
        ({"k_chunk": 48}, "screened", 0.15, "float32", None),
        ({"k_chunk": "auto", "k": 16}, "screened", 0.15, "float32", None),
        ({"backward": "dense"}, "dense", None, None, 16),
        ({"backward": "dense", "k_chunk": 48}, "dense", None, None, None),
    ],
)
def test_everything_is_resolved(flags, backward, inflation, precision, chunk) -> None:
    spec = _plan(**flags).spec
    assert (spec.backward, spec.screen_inflation, spec.screen_precision) == (backward, inflation, precision)
    assert spec.k_chunk == chunk
    assert spec.compile == "off", "so little work does not pay for a compilation"


def test_a_dense_pass_is_whole_where_there_is_memory(monkeypatch) -> None:
    monkeypatch.setattr(executing, "memory_at_hand", lambda device: 1 << 34)
    assert _plan(backward="dense").spec.k_chunk is None
    assert _plan(backward="screened").spec.k_chunk == 16, "screening's first pass goes by the cache"


def test_all_faults_at_once() -> None:
    told = _faults(
        backward="dense",
        screen_inflation=0.3,
        k_chunk=33,
        compile="onn",
        track_estimators="stl,dregg",
        lr=-1.0,
        objective="iwae",
    )
    fields = {fault.partition(":")[0] for fault in told}
    assert fields == {"screen-inflation", "k-chunk", "compile", "track-estimators", "lr"}
    assert len(told) == len(fields)


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        ({"k_chunk": 0}, "k-chunk: must be a positive whole number or auto, got 0."),
        ({"k_chunk": "aut"}, "k-chunk: must be a positive whole number or auto, got 'aut'."),
        ({"k_chunk": 64}, "k-chunk: must be at most k, which is 48, got 64."),
        ({"screen_inflation": 0.0}, "screen-inflation: must be greater than 0.0, got 0.0."),
        ({"compile": True}, "compile: must be auto, on or off, got True."),
        ({"backward": "Dense"}, "backward: must be auto, dense or screened, got 'Dense'. Did you mean 'dense'?"),
        ({"k": 0}, "k: must be at least 1, got 0."),
        ({"batch_size": "many"}, "batch-size: must be a whole number, got 'many'."),
        ({"hidden": 5}, "hidden: must be layer sizes such as 200,200 or 200,200/100,100, in a file [200, 200] or "),
        (
            {"likelihood": "poisson"},
            "likelihood: must be one of 'bernoulli', 'gaussian' or 'discretised-logistic', got 'poisson'.",
        ),
        ({"objective": "miwae:groups=7", "track_estimators": "stl"}, "objective: "),
    ],
)
def test_a_fault_is_told_once_whatever_auto_would_have_been(flags, fault) -> None:
    (told,) = _faults(**flags)
    assert told.startswith(fault)


@pytest.fixture
def big() -> dict[str, object]:
    """Work whose compiled arithmetic pays: 40 million rows of 64 outputs, 8,192 of them at once, save 12.6 s."""
    return {"k": 256, "k_chunk": 256, "steps": 48_000, "backward": "dense"}


def test_compile_is_on_where_it_pays(big, monkeypatch) -> None:
    monkeypatch.setattr(executing, "rounds_in_blocks", lambda _: False)
    assert _plan(**big).spec.compile == "on"
    assert _plan(**big | {"compile": "off"}).spec.compile == "off"
    assert _plan(**big | {"steps": 30_000}).spec.compile == "off"
    assert _plan(**big | {"k_chunk": 16}).spec.compile == "off", "arrays too small to be compiled"
    half = {"backward": "screened", "screen_precision": "bfloat16"}
    assert _plan(**big | half).spec.compile == "on"
    assert _plan(**big | {"backward": "screened"}).spec.compile == "off", "blocks in the cache are as fast"
    assert _plan(compile="on").spec.compile == "on", "asked for, it is done"
    monkeypatch.setattr(executing, "rounds_in_blocks", lambda _: True)
    assert _plan(**big | half).spec.compile == "off", "blocks in the cache are as fast"


def test_without_a_compiler_one_warning_where_it_would_have_paid(big, monkeypatch) -> None:
    monkeypatch.setattr(executing, "has_compiler", lambda: False)
    plan = _plan(**big)
    assert plan.spec.compile == "off"
    (warning,) = plan.warnings
    assert "no C++ compiler" in warning
    assert "13 s longer" in warning
    assert _plan().warnings == ()
    assert _plan(**big | {"compile": "off"}).warnings == (), "who does not want it needs no warning"
    (fault,) = _faults(compile="on")
    assert fault.startswith("compile: torch.compile finds no C++ compiler on this machine: install g++ or clang++")
    assert "--compile off" in fault


def test_slow_bfloat16_is_warned_of_and_works(monkeypatch) -> None:
    monkeypatch.setattr(machine, "has_bfloat16_products", lambda device: False)
    monkeypatch.setattr(machine, "rounds_in_blocks", lambda device: False)
    plan = _plan(screen_precision="bfloat16")
    (warning,) = warnings_of(plan.spec, plan.data.dataset)
    assert "slower here than float32" in warning
    fast = _plan()
    assert warnings_of(fast.spec, fast.data.dataset) == []


def test_the_engine_gets_what_the_spec_says(monkeypatch) -> None:
    seen: dict[str, object] = {}

    class Spy(Trainer):
        def __init__(self, *arguments, **options) -> None:
            seen.update(options)
            super().__init__(*arguments, **options)

    monkeypatch.setattr("dregcli.app.loading.build.Trainer", Spy)
    flags = {"screen_inflation": 0.5, "screen_precision": "bfloat16", "track_estimators": "stl,rws/dreg"}
    plan = _plan(**flags, compile="on")
    trainer = build_trainer(plan.spec, plan.data)
    execution = seen["execution"]
    assert (execution.backward, execution.inflation, execution.precision, execution.k_chunk) == (
        Backward.SCREENED,
        0.5,
        Precision.BFLOAT16,
        16,
    )
    assert [pair.word for pair in seen["tracked"]] == ["iwae/dreg", "iwae/stl", "rws/dreg"]
    assert trainer.model.fused
    dense = _plan(backward="dense")
    assert not build_trainer(dense.spec, dense.data).model.fused
    assert seen["execution"].backward is Backward.DENSE
    assert seen["tracked"] == []


def test_the_size_of_a_decoders_work() -> None:
    dataset = _plan().data.dataset

    def shape(**options: object) -> tuple[int, int]:
        usual = {"task": Task.GENERATIVE, "likelihood": LikelihoodName.BERNOULLI, "hidden": (6,), "device": "cpu"}
        found = Shape.of(dataset, **{**usual, **options})
        return found.outputs, found.widest

    assert shape() == (64, 64)
    assert shape(hidden=(300, 20)) == (64, 300)
    assert shape(likelihood=LikelihoodName.GAUSSIAN) == (128, 128)
    assert shape(task=Task.STRUCTURED) == (32, 32)


def _train(store: RunStore, **flags: object):
    return train.start(_plan(**flags), name="run", store=store, argv=["dreg"], listener=Recorder())


def _cut(store: RunStore, monkeypatch: pytest.MonkeyPatch, error: Exception, **flags: object) -> BaseException:
    """A run that fails in its fifth step."""
    advance = Trainer.advance

    def fails(trainer: Trainer) -> None:
        if trainer.step == 4:
            raise error
        advance(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "advance", fails)
        with pytest.raises(type(error) if not isinstance(error, RuntimeError) else DeviceUnavailable) as caught:
            _train(store, **flags)
    return caught.value


NO_MEMORY = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


def test_out_of_memory_says_how_to_go_on_and_that_is_how(tmp_path, monkeypatch) -> None:
    store = RunStore(tmp_path)
    error = _cut(store, monkeypatch, NO_MEMORY, k_chunk=32)
    run = find_run_to_resume(store, "run", Recorder())
    assert error.hint.endswith(f"; or continue with less memory: dreg train --resume {run.path} --k-chunk 16")
    assert "32 samples at once" in error.what
    assert run.status() is RunStatus.FAILED
    assert run.checkpoints() == [2, 4]
    recorder = Recorder()
    plan = resume_plan(run, {"k_chunk": 16}, Path("unused"))
    result = train.resume(run, plan, store=store, argv=["dreg"], listener=recorder)
    assert result.summary["step"] == 6
    assert run.spec()["k_chunk"] == 16
    assert any("not bit for bit" in warning for warning in recorder.warnings)
    whole = _train(RunStore(tmp_path / "whole"), k_chunk=32).summary["bound"]
    assert result.summary["bound"] == pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize(("k", "chunk", "smaller"), [(64, None, 32), (64, 48, 16), (20, None, 16), (64, 16, None)])
def test_a_smaller_chunk_is_smaller_and_can_be(k, chunk, smaller) -> None:
    spec = _plan().spec.model_copy(update={"k": k, "k_chunk": chunk})
    error = out_of_memory(MemoryError(), spec)
    assert error is not None
    assert error.hint == (f"use --k-chunk {smaller}, or" if smaller else "use") + (
        " a smaller --k, --batch-size or --hidden"
    )
    for other in (
        {"hidden": None, "model": "conv"},
        {"parent": ParentSpec(run="p/v001", checkpoint=1, model_sha256="")},
    ):
        error = out_of_memory(MemoryError(), spec.model_copy(update=other))
        assert error is not None
        assert error.hint.endswith(" a smaller --k or --batch-size"), other
    assert out_of_memory(RuntimeError("shapes do not match"), spec) is None


def test_a_resumed_run_keeps_what_was_resolved(tmp_path, monkeypatch) -> None:
    """Less cache, more memory, no compiler: what ``auto`` was is what it stays."""
    store = RunStore(tmp_path)
    _cut(store, monkeypatch, NO_MEMORY, compile="on", track_estimators="stl")
    run = find_run_to_resume(store, "run", Recorder())
    before = run.spec()
    assert (before["k_chunk"], before["compile"]) == (16, "on")
    monkeypatch.setattr(executing, "cache_size", lambda device: 1 << 30)
    monkeypatch.setattr(executing, "has_compiler", lambda: False)
    for flags in (
        {},
        dict.fromkeys(("k_chunk", "compile", "backward", "device", "threads"), "auto"),
        {"track_estimators": "iwae/stl", "backward": "screened"},
    ):
        plan = resume_plan(run, flags, Path("unused"))
        assert as_json(plan.spec) == before, flags
        assert plan.warnings == ()
    whole = resume_plan(run, {"k_chunk": 48, "compile": "off"}, Path("unused"))
    assert (whole.spec.k_chunk, whole.spec.compile) == (None, "off")


def test_what_a_resumed_run_refuses(tmp_path, monkeypatch) -> None:
    store = RunStore(tmp_path)
    _cut(store, monkeypatch, NO_MEMORY)
    run = find_run_to_resume(store, "run", Recorder())
    monkeypatch.setattr(executing, "has_compiler", lambda: False)
    flags = {
        "backward": "dense",
        "objective": "auto",
        "screen_inflation": 0.5,
        "track_estimators": "stl",
        "k_chunk": 24,
        "compile": "on",
    }
    with pytest.raises(SpecError) as caught:
        resume_plan(run, flags, Path("unused"))
    told = {fault.field: fault.message for fault in caught.value.faults}
    assert set(told) == {"backward", "objective", "screen-inflation", "track-estimators", "k-chunk", "compile"}
    assert told["track-estimators"] == "the run was made with none; a resumed run keeps its spec."
    assert "multiple of 16" in told["k-chunk"]
    for steps, message in (
        (2, "the run has 6 steps and can only get longer, got 2."),
        (10**20, f"must be at most {2**53}, got {10**20}."),
    ):
        with pytest.raises(SpecError, match=f"^steps: {message}"):
            resume_plan(run, {"steps": steps}, Path("unused"))


@pytest.mark.parametrize("first_at", ["warm-up", "validation"])
def test_a_compilation_that_fails_is_told_once_and_the_run_goes_on(tmp_path, monkeypatch, first_at) -> None:
    failed, evaluate = RuntimeError("CppCompileError: no space left\nmore"), bounds.evaluate

    def warm_up(trainer: Trainer) -> str | None:
        return trainer.model.run_uncompiled(failed) if first_at == "warm-up" else None

    def evaluated(model: Model, *arguments: Any, **options: Any) -> Any:
        if model.fused:
            raise failed
        return evaluate(model, *arguments, **options)

    monkeypatch.setattr(Trainer, "warm_up", warm_up)
    monkeypatch.setattr(bounds, "evaluate", evaluated)
    recorder, store = Recorder(), RunStore(tmp_path)
    result = train.start(_plan(compile="on"), name="x", store=store, argv=["dreg"], listener=recorder)
    (warning,) = recorder.warnings
    assert warning == "torch.compile failed; the work continues without it: CppCompileError: no space left"
    assert result.summary["compile"] == "off", "what was done, not what was wanted"
    assert result.run.spec()["compile"] == "on"


@pytest.mark.parametrize(
    ("flags", "computed"),
    [
        ({}, "float32"),
        ({"backward": "dense"}, "float32"),
        ({"screen_precision": "bfloat16"}, "bfloat16 with randomised correction"),
        ({"screen_precision": "linearised"}, "linearised with randomised correction"),
    ],
)
def test_a_run_says_how_its_bound_was_computed(tmp_path, flags, computed) -> None:
    result = _train(RunStore(tmp_path), **flags)
    assert result.summary["bound_computed"] == computed
    assert result.run.info().summary["backward"] == flags.get("backward", "screened")
    assert result.summary["k_chunk"] == 16


def test_the_warm_up_is_in_no_steps_time(tmp_path, monkeypatch) -> None:
    import time

    warm_up = Trainer.warm_up

    def slow(trainer: Trainer) -> str | None:
        time.sleep(1.0)
        return warm_up(trainer)

    monkeypatch.setattr(Trainer, "warm_up", slow)
    assert _train(RunStore(tmp_path), k=2, k_chunk=2).summary["seconds"] < 1.0


@pytest.mark.parametrize(
    ("flags", "backward"),
    [
        ({}, "screened"),
        ({"objective": "elbo"}, "dense"),
        ({"k": 1}, "dense"),
        ({"objective": "vr-iwae:alpha=1"}, "dense"),
        ({"objective": "ciwae"}, "screened"),
        ({"objective": "elbo", "screen_inflation": 0.5}, "screened"),
        ({"backward": "auto"}, "screened"),
    ],
)
def test_equal_weights_are_not_screened_by_themselves(flags: dict[str, object], backward: str) -> None:
    decided, faults, _ = executing.decide_execution(RunOptions.model_validate(flags), None, steps=5)
    assert (decided.backward, faults) == (backward, [])


@pytest.mark.parametrize(
    ("outputs", "products", "linearises", "precision"),
    [
        (2**20, True, True, "bfloat16"),
        (2**20 - 1, True, True, "float32"),
        (2**23, False, True, "linearised"),
        (2**23 - 1, False, True, "float32"),
        (2**23, False, False, "float32"),
    ],
)
def test_the_fastest_precision_by_itself(
    outputs: int, products: bool, linearises: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "has_bfloat16_products", lambda _: products)
    monkeypatch.setattr(machine, "rounds_in_blocks", lambda _: False)
    sizes = {"outputs": outputs, "device": "cpu", "linearises": linearises}
    assert machine.auto_precision(**sizes, in_blocks=True) == precision
    # A processor that multiplies bfloat16 matrices alone: only blocks of rows are rounded.
    monkeypatch.setattr(machine, "has_bfloat16_products", lambda _: False)
    monkeypatch.setattr(machine, "rounds_in_blocks", lambda _: products)
    assert machine.auto_precision(**sizes, in_blocks=True) == precision
    assert machine.auto_precision(**sizes, in_blocks=False) != "bfloat16"


@pytest.mark.parametrize(("shard", "precision"), [(Shard.SAMPLES, "linearised"), (Shard.BATCH, "float32")])
@pytest.mark.parametrize("joined", [None, object()])
def test_the_precision_is_the_same_with_and_without_ranks(
    shard: Shard, precision: str, joined: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise they would not be one experiment."""
    monkeypatch.setattr(ranks, "_joined", joined)
    monkeypatch.setattr(machine, "has_products_of", lambda *_, **__: False)
    options = RunOptions.model_validate({"k": 1024, "batch_size": 32, "shard": shard})
    shape = Shape(outputs=784, widest=784, device="cpu", in_blocks=True)
    decided, faults, _ = executing.decide_execution(options, shape, steps=5)
    assert (decided.screen_precision, faults) == (precision, [])


@pytest.mark.parametrize("flags", [{"likelihood": "gaussian"}, {"posterior": "full"}])
def test_linearised_pixels_are_refused_where_there_are_none(flags: dict[str, object]) -> None:
    assert _plan(screen_precision="linearised").spec.screen_precision == "linearised"
    (fault,) = _faults(screen_precision="linearised", **flags)
    assert fault.startswith("screen-precision: 'linearised' is for --model vae with a diagonal posterior")
    assert "Use --screen-precision float32." in fault


def test_a_path_is_no_reason_to_speak_of_memory() -> None:
    full = StoreWriteError(
        "No space left on the disk", where="/scratch/alloc_123/out of memory/runs", hint="free some"
    )
    spec = RunSpec(dataset="digits", data_checksum="", split_convention="dreg", steps=1)
    assert out_of_memory(full, spec) is None
    assert out_of_memory(NO_MEMORY, spec) is not None
