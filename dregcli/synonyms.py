"""Words that users of other programs type, and their names in this program: a table for options, one for commands.

Standard library only.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

_OPTIONS: Final[tuple[tuple[str, str], ...]] = (
    ("lr", "learning-rate learningrate step-size stepsize eta adam-lr"),
    ("optimizer", "optimiser optim opt weight-decay wd momentum betas beta1 beta2 adam-beta1 adam-beta2 nesterov"),
    ("lr-schedule", "scheduler lr-scheduler schedule lr-decay lr-decay-type gamma-decay cosine annealing"),
    ("warmup-steps", "warmup warm-up lr-warmup lr-warmup-steps num-warmup-steps warmup-iters"),
    ("kl-warmup", "kl-annealing kl-anneal beta-warmup beta-annealing anneal-steps kl-steps warmup-kl"),
    ("grad-clip", "clip clip-grad gradient-clip gradient-clipping grad-norm max-grad-norm clip-norm clip-grad-norm"),
    ("ema", "ema-decay ema-rate polyak averaging swa"),
    ("patience", "early-stopping early-stop early-stopping-patience es-patience"),
    ("lr-posterior", "encoder-lr lr-encoder lr-q lr-phi posterior-lr inference-lr"),
    ("epochs", "epoch num-epochs n-epochs max-epochs nepochs passes"),
    (
        "steps max-batches replicates",
        "iterations iteration iters iter n-iter n-iters num-iter num-iters num-iterations max-iter max-iters "
        "max-iterations num-steps n-steps max-steps train-steps training-steps total-steps updates num-updates",
    ),
    ("max-batches", "num-batches n-batches batches"),
    (
        "batch-size examples",
        "batch bs batchsize minibatch mini-batch minibatch-size train-batch-size batch-examples",
    ),
    (
        "k replicates",
        "samples num-samples n-samples nsamples sample-size importance-samples num-importance-samples "
        "n-importance-samples importance-weighted-samples iw-samples iwae-samples iwae-k mc-samples num-mc-samples "
        "particles num-particles n-particles ks",
    ),
    ("n examples limit", "num-images n-images images num-examples n-examples max-examples count number num subset"),
    (
        "latent-dim latents",
        "latent z-dim zdim dim-z z nz z-size latent-size latent-dims latent-dimension latent-dimensions n-latent "
        "n-latents num-latent num-latents code-dim code-size bottleneck embedding-dim",
    ),
    (
        "hidden",
        "hidden-dim hidden-dims hidden-size hidden-sizes hidden-units hidden-layers n-hidden num-hidden hdim h-dim "
        "layers units width num-units layer-sizes",
    ),
    (
        "model-option",
        "model-options model-kwargs model-args model-arg model-params model-param model-config model-opt",
    ),
    ("model", "arch architecture net network model-name model-type"),
    ("dataset data-dir", "data data-set dataset-name ds"),
    ("data-dir", "data-path data-root data-folder datadir dataroot root cache cache-dir"),
    (
        "out html runs-dir",
        "out o output out-dir outdir output-dir outputs output-file output-path dest save save-dir save-path",
    ),
    (
        "tensorboard runs-dir out",
        "log-dir logdir logs model-dir modeldir checkpoint-dir ckpt-dir exp-dir workdir work-dir results-dir run-dir "
        "rundir store store-dir project-dir",
    ),
    ("device", "gpu gpus gpu-id cuda cpu use-cuda use-gpu no-cuda no-gpu accelerator mps"),
    ("objective", "loss bound criterion obj loss-type loss-fn elbo iwae objective-function target"),
    ("objective", "alpha beta order groups num-groups"),  # parameters belong to words: vr-iwae:alpha=0.3
    ("estimator", "gamma baseline"),
    ("estimator objective", "method algorithm algo gradient gradient-estimator grad-estimator grad-est gradients"),
    ("likelihood", "observation observation-model obs-model decoder-dist output-dist"),
    ("binarisation", "binarization binarize binarise binary binarized dynamic-binarization"),
    ("split-convention split", "split-name data-split"),
    ("split", "part partition subset-name eval-split dataset-split"),
    ("seed", "random-seed rng rng-seed manual-seed random-state"),
    ("seeds repeats replicates", "num-seeds n-seeds num-runs n-runs trials num-trials n-repeats num-repeats"),
    (
        "eval-every",
        "eval-interval eval-freq eval-frequency eval-steps evaluate-every val-every val-freq val-interval "
        "valid-every validate-every validation-every test-every",
    ),
    (
        "checkpoint-every",
        "checkpoint-interval checkpoint-freq ckpt-every ckpt-freq ckpt-interval save-every save-freq save-interval "
        "save-steps",
    ),
    (
        "log-every",
        "log-interval log-freq log-frequency log-steps logging-steps print-every print-freq print-interval",
    ),
    ("name", "run-name runname exp exp-name experiment experiment-name run-id id"),
    (
        "resume checkpoint",
        "load load-from restore restore-from continue resume-from reload restart warm-start from-checkpoint ckpt "
        "ckpt-path checkpoint-path init-from pretrained weights",
    ),
    ("keep-last", "keep max-to-keep save-total-limit"),
    ("config", "cfg conf config-file config-path params settings yaml toml"),
    ("k-chunk", "chunk chunk-size sample-chunk microbatch micro-batch"),
    ("screen-precision", "precision dtype amp half bf16 fp16 mixed-precision"),
    ("compile", "torch-compile jit no-compile"),
    ("track-estimators", "track tracking"),
    ("capture", "git snapshot code"),
    ("chains", "num-chains n-chains"),
    ("method", "ais"),
    ("active-threshold", "threshold au-threshold"),
    ("false-alarm", "significance fpr p-value level false-positive-rate"),
    ("detect", "tolerance tol effect-size"),
    ("max-seconds", "timeout time-limit max-time"),
    ("watch", "follow live tail monitor"),
    ("every", "interval refresh"),
    ("latex", "tex booktabs"),
    ("cite", "bib bibtex citation citations"),
    ("figures", "plot plots figs fig figure plot-dir"),
    ("source", "url mirror from file path"),
    ("valid", "validation val dev val-size valid-size validation-size val-fraction val-split validation-split"),
    ("test", "test-size test-fraction test-split"),
    ("resize shape", "size image-size img-size"),
    ("key", "keys array variable dataset-key"),
    ("replace force yes", "overwrite"),
    ("yes", "assume-yes y no-confirm non-interactive"),
    ("quiet", "silent no-progress q"),
    ("json", "format output-format as-json"),
    ("dry-run", "n simulate what-if"),
    ("help", "h usage"),
)
"""Options with the words that users may type instead. The program suggests the first option that the command has."""

_BY_COMMAND: Final = {"sample": ("n", "samples num-samples n-samples nsamples")}
"""By command: an option, and the words that mean this option only in this command."""

_COMMANDS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "": (
        ("train", "fit learn run start"),
        ("eval", "evaluate evaluation test score validate nll likelihood"),
        ("sample", "generate samples reconstruct reconstructions traverse"),
        ("report", "compare plot summary summarise summarize table results"),
        ("check-model", "check lint validate-model model-check checkmodel"),
        ("bias-check", "bias check check-bias biascheck gradcheck grad-check"),
        ("variance", "snr var grad-variance gradient-variance"),
        ("advise", "advice recommend suggest choose"),
        ("finetune-encoder", "finetune fine-tune finetune-q"),
        ("estimators", "estimator objectives objective pairs"),
        ("download", "fetch get"),
        ("data", "dataset datasets"),
        ("data import", "import"),
        ("train --resume", "resume continue restart"),
        ("runs list", "list ls ps"),
        ("runs show", "show info describe status"),
        ("runs rm", "rm remove delete"),
        ("runs export", "export"),
        ("runs verify", "verify"),
        ("runs tag", "tag label"),
        ("--help", "help"),
        ("--version", "version"),
    ),
    "runs": (
        ("runs list", "ls all"),
        ("runs show", "info describe status log"),
        ("runs diff", "compare"),
        ("runs tag", "label"),
        ("runs verify", "check validate"),
        ("runs rm", "remove delete del"),
        ("runs gc", "clean prune purge empty"),
        ("runs rerun", "repeat replay"),
        ("report", "report plot"),
        ("eval", "eval evaluate"),
        ("train --resume", "resume continue"),
    ),
    "data": (
        ("data list", "ls all"),
        ("data show", "plot view draw info"),
        ("data import", "add load"),
        ("data verify", "check validate"),
        ("data rm", "remove delete del"),
        ("download", "download fetch get"),
    ),
}
"""By group of commands: each command, with the words that users may type instead."""


_MOST: Final = 3
"""The largest number of names with the same beginning that is still a useful suggestion."""


def meant(typed: str, known: Iterable[str], command: str = "") -> list[str]:
    """Return the names that a user may have meant with a name that does not exist.

    Args:
        typed: an option without the dashes in front, or a key of a config file.
        known: the existing names, spelt with dashes.
        command: the command that the user typed.

    Returns:
        The best names: by synonym, by a common beginning, or by similar letters. Empty if no name is similar.
    """
    word, names = typed.lower().replace("_", "-"), list(known)
    if word in names:
        return [word]
    own, words = _BY_COMMAND.get(command, ("", ""))
    if word in words.split() and own in names:
        return [own]
    called = [options.split() for options, words in _OPTIONS if word in f"{options} {words}".split()]
    if found := [each for options in called for each in options if each in names]:
        return found[:1]
    if 0 < len(begun := [name for name in names if name.startswith(word)]) <= _MOST:
        return begun
    # A synonym whose option this command does not have is not a spelling mistake.
    return [] if called else difflib.get_close_matches(word, names, n=2, cutoff=0.6)


def meant_command(typed: str, group: str) -> str | None:
    """Return the command, without the program's name, that a user may have meant with one that does not exist.

    Args:
        typed: one word.
        group: name of the group of commands; empty for the program's top level.
    """
    word = typed.lower()
    return next((command for command, called in _COMMANDS.get(group, ()) if word in called.split()), None)


def did_you_mean(names: Sequence[str]) -> str:
    """Return the question "Did you mean ...?" with a space in front, or an empty text if there are no names."""
    if not names:
        return ""
    *first, last = [f"'{name}'" for name in names]
    return f" Did you mean {', '.join(first)} or {last}?" if first else f" Did you mean {last}?"
