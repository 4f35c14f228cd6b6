"""``dreg report``."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dregcli.app.places import runs_folder
from dregcli.cli.describe import described, seen_as
from dregcli.cli.options import Json, Quiet, RunsDir
from dregcli.cli.render import Terminal, difference, with_error
from dregcli.names import Split

if TYPE_CHECKING:
    from dregcli.app.report import Group

EXAMPLES = """One name:  [bold]dreg report runs/digits-iwae-dreg-k64[/bold]

Two, side by side:  [bold]dreg report runs/digits-iwae-dreg-k64 runs/digits-iwae-reparam-k64[/bold]"""


def _describe(spec: Any) -> str:  # noqa: ANN401 - plain values of a spec
    parent = spec.get("parent")
    anew = " started anew" if parent and parent["reset_encoder"] else ""
    origin = f", encoder{anew} on the model of {parent['run']} step {parent['checkpoint']}" if parent else ""
    return (
        f"{described(spec)}, {spec['objective']}/{spec['estimator']}, K={spec['k']}, batch {spec['batch_size']}, "
        f"lr {spec['lr']:g}, {spec['steps']} steps{origin}"
    )


def _apart(groups: "Sequence[Group]") -> list[Split]:
    """The splits on which the groups' bounds do not compare: of different examples, pixels or tasks."""
    hashes = [_split_hashes(group) for group in groups]
    # Runs of before there were hashes are known by all their data together.
    of_data = hashes if all(hashes) else [dict.fromkeys(Split, group.spec["data_checksum"]) for group in groups]
    seen = [seen_as(group.spec) for group in groups]
    return [split for split in Split if len(set(zip(seen, (each[split] for each in of_data), strict=True))) > 1]


def _split_hashes(group: "Group") -> Mapping[str, str]:
    """SHA-256 of the values of each split, of runs that tell it; they share their data."""
    for row in group.rows:
        if "split_hashes" in row.summary:
            return row.summary["split_hashes"]
    return {}


def _over_parent(group: "Group") -> dict[str, Any]:
    """Of runs that trained the encoder alone: the bounds before, and what it gained, by split."""
    if not group.spec.get("parent"):
        return {}
    found = {"before": group.before, "gain": group.gain}
    return {key: {s.value: vars(a) if (a := of(s)) else None for s in Split} for key, of in found.items()}


def _tracked_json(group: "Group") -> dict[str, Any]:
    """Of runs that tracked estimators: their gradients at the end of training, and of what windows the means are."""
    if not (found := group.tracked()):
        return {}
    steps, floor = group.tracked_window() or (None, None)
    estimators = {word: {key: vars(a) for key, a in each.items()} for word, each in found.items()}
    return {"tracked": {"window": {"steps": steps, "snr_floor": floor}, "estimators": estimators}}


_TRACKED = {
    "encoder variance": "posterior_variance",
    "encoder SNR": "posterior_snr",
    "decoder variance": "model_variance",
    "decoder SNR": "model_snr",
}


def _show_tracked(group: "Group", terminal: Terminal) -> None:
    """The table of what was tracked; where there are windows each estimator has a row of them, too."""
    found, window = group.tracked(), group.tracked_window()
    if not found:
        return
    kinds = {"moving average": ""} | ({"windows": "_window"} if window else {})
    rows = [
        [
            word,
            kind,
            *(
                _scientific(a.mean, a.stderr) if (a := each.get(quantity + end)) else "-"
                for quantity in _TRACKED.values()
            ),
        ]
        for word, each in found.items()
        for kind, end in kinds.items()
    ]
    title = "gradients of tracked estimators at the end of training, means over coordinates, ± s.e. over seeds"
    terminal.table(["estimator", "over", *_TRACKED], rows, title=title)
    if window:
        steps, floor = window
        terminal.line(
            f"windows: means over the last tenth of training, of {steps:.0f} steps each; pure noise has an SNR of "
            f"about {floor:.3f} in them, and of 0.06 in the moving average"
        )


def _scientific(value: float, stderr: float | None) -> str:
    """A number of any size, with its standard error if there is one."""
    return f"{value:.3g}" if stderr is None else f"{value:.3g} ± {stderr:.1g}"


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs: a name (all versions) or one version.")],
    runs_dir: RunsDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare runs: versions, mean and standard error over seeds, a learning-curve figure."""
    from dregcli.app.report import make_report

    terminal = Terminal(as_json=as_json, quiet=quiet)
    found = make_report(runs, runs_dir=runs_folder(runs_dir))
    for left_out in found.left_out:
        terminal.warn(f"left out: {left_out}")
    figure = str(found.figure) if found.figure else None
    if as_json:
        groups = [
            {
                "group": group.key,
                "spec": {key: value for key, value in group.spec.items() if key != "seed"},
                "seeds": len(group.seeds()),
                "bound": {s.value: vars(a) if (a := group.bound(s)) else None for s in Split},
                **_over_parent(group),
                **_tracked_json(group),
                "evals": [
                    {**key._asdict(), "examples": key.n, **vars(value)} for key, value in group.evaluations().items()
                ],
                "runs": [
                    {"run": row.path, "seed": row.spec["seed"], "status": row.status.value, **row.summary}
                    for row in group.rows
                ],
            }
            for group in found.groups
        ]
        terminal.result({"groups": groups, "figure": figure})
        return
    for group in found.groups:
        names = {row.name for row in group.rows}
        columns = ["run", "seed", "status", "step", *Split, "steps/s"]
        rows = [
            [
                row.version if len(names) == 1 else f"{row.name}/{row.version}",
                str(row.spec["seed"]),
                row.status.value,
                str(row.summary.get("step", "-")),
                *(with_error(row.bound(split), None) for split in Split),
                with_error(row.summary.get("steps_per_second"), None),
            ]
            for row in group.rows
        ]
        terminal.table(columns, rows, title=f"{', '.join(sorted(names))}: {_describe(group.spec)}")
        if hashes := _split_hashes(group):
            terminal.line(f"splits: {', '.join(f'{split} {digest[:12]}' for split, digest in hashes.items())}")
        seeds = len(group.seeds())
        means = [f"{split} {with_error(a.mean, a.stderr)}" for split in Split if (a := group.bound(split))]
        if means:
            count = f"{seeds} seed{'s' if seeds != 1 else ''}"
            terminal.line(f"bound, mean ± s.e. over {count}, nats per example: {', '.join(means)}")
        gains = [
            f"{split} {with_error(before.mean, None)} {difference(gain.mean, gain.stderr)}"
            for split in Split
            if (before := group.before(split)) and (gain := group.gain(split))
        ]
        if gains:
            terminal.line(f"the parent's bound and what the encoder alone gained: {', '.join(gains)}")
        for key, value in group.evaluations().items():
            count = f"{value.n} seed{'s' if value.n != 1 else ''}"
            number = with_error(value.mean, value.stderr)
            of = f"{key.split} bound at K={key.k}, {key.n:,} examples, step {key.checkpoint}, eval seed {key.seed}"
            terminal.line(f"eval: {of}: {number} nats, {count}")
        _show_tracked(group, terminal)
        if seeds == 1:
            terminal.warn("one seed only: no standard error over seeds; train with another --seed.")
    if apart := _apart(found.groups):
        told = "" if len(apart) == len(Split) else f" {' and '.join(apart)}"
        terminal.warn(f"these groups are of different data or pixels: their{told} bounds do not compare.")
    if figure:
        terminal.line(f"figure: {figure}")
