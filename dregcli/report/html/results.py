"""The sections on the results of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from dregcli.names import Split
from dregcli.parts import shown_word
from dregcli.report.aggregate import Aggregate
from dregcli.report.along import Along, along_table
from dregcli.report.comparison import Comparison, shown_first
from dregcli.report.evaluated import Evaluated, EvaluationKey
from dregcli.report.groups import Group, bias_to_tested
from dregcli.report.groups_table import groups_table, time_notes
from dregcli.report.html.view import Section
from dregcli.report.paired import FEWEST_SEEDS
from dregcli.report.tables import (
    MOST_PAIRS,
    NOTHING,
    TRACKED_TITLE,
    Cell,
    Column,
    Table,
    count,
    in_brief,
    mean,
    pairs_table,
    quantity,
    share,
    shown_pairs,
    tracked_columns,
    tracked_note,
    tracked_rows,
)
from dregcli.wording import counted, difference, listed, some_of, with_error

_GROUP: Final = Column("group", numeric=False)

_RATES: Final = (
    "steps/s: optimisation steps per second of training, without evaluation, under whatever load the machine had. No "
    "group is the best by it."
)
"""Explains the column of rates."""

_ERRORS: Final = (
    "s.e. over seeds says how far the mean would move if the models were trained again. The standard error over "
    "examples, which an evaluation shows, says how far it would move with other examples. Neither contains the "
    "other, because all seeds see the same examples."
)

_KHAT: Final = (
    "k-hat: the shape of the tail of an example's weights; its median over examples, and the share of examples above "
    "0.7, whose estimates are too low, and whose standard errors are too small."
)

Labels = Mapping[str, str]
"""Labels of groups, by key."""


def summary(
    groups: Sequence[Group],
    labels: Labels,
    comparisons: Sequence[Comparison],
    curves: Mapping[str, str],
    *,
    time_to: float | None,
) -> Section:
    """Return the section that compares the groups; see ``groups_table``."""
    lead = tuple(conclusion(each, labels) for each in shown_first(comparisons))
    table = groups_table(groups, labels, comparisons, curves, time_to=time_to)
    notes: list[str] = []
    if any(cell.tone == "best" for row in table.rows for cell in row):
        notes.append("Bold: the best group, and groups that the paired test has not found lower.")
    if any(group.steps_per_second() for group in groups):
        notes.append(_RATES)
    notes += time_notes(groups, time_to)
    table = replace(table, notes=(" ".join(notes),) if notes else ())  # the lead has the verdicts
    return Section("groups", "Groups", lead, (table, *_final_bounds(groups, labels), *_gains(groups, labels)))


def conclusion(found: Comparison, labels: Labels) -> str:
    """Say which group is the best, which others may be as good, what was tested, and which groups stand apart."""
    of_best = found.of(found.best)
    # A group over other seeds, or over too few for a test, may have a higher mean.
    is_highest = all(found.of(key).mean <= of_best.mean for key in found.values)
    leads = "has the highest" if is_highest else "is the best by the paired test, with a"
    text = f"{labels[found.best]} {leads} {found.measure.text}: {with_error(of_best.mean, of_best.stderr)} nats"
    near = found.cannot_be_told_from_best
    others = [labels[key] for key in found.values if key in near and key != found.best]
    if others:
        text += f"; the paired test has not found these lower: {some_of(others, 6)}"
    elif near:
        text += f"; the paired test has found all other {'tested ' if found.untested else ''}groups lower"
    return " ".join([f"{text}.", *_tested(found, labels), *_apart(found, labels)])


def _tested(found: Comparison, labels: Labels) -> list[str]:
    """Say which groups were tested against each other, and which share too few seeds with the best one."""
    pairs = [pair for pair in found.pairs if pair.verdict != "untested"]
    if not pairs:
        return [f"Nothing is tested: no two of these groups share {FEWEST_SEEDS} seeds."]
    keys = {key for pair in pairs for key in (pair.a, pair.b)}
    seeds = sorted({len(pair.seeds) for pair in pairs})
    over = f"{seeds[0]} shared seeds" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} shared seeds"
    which = some_of([labels[key] for key in found.values if key in keys], 6)
    sentences = [f"Tested over {over}: {which} ({counted(len(pairs), 'pair')})."]
    if untested := found.untested:
        names = some_of([labels[key] for key in untested], 6)
        sentences.append(
            f"Not tested, because they share fewer than {FEWEST_SEEDS} seeds with {labels[found.best]}: {names}."
        )
    return sentences


def _apart(found: Comparison, labels: Labels) -> list[str]:
    """Name the groups that stand apart from the comparison, with the reason."""
    why: dict[str, list[str]] = {}
    for key, reason in found.apart.items():
        why.setdefault(reason, []).append(labels[key])
    return [f"Not compared: {some_of(names, 6)}, because {reason}." for reason, names in why.items()]


def _final_bounds(groups: Sequence[Group], labels: Labels) -> list[Table]:
    """Return a table of the bounds at the end of training, by split."""
    columns = [_GROUP, Column("seeds")]
    columns += [Column(name) for split in Split for name in (split.value, f"best {split}")]
    rows: list[tuple[Cell, ...]] = []
    for group in groups:
        bounds = [group.bound(split) for split in Split]
        cells = [cell for a in bounds for cell in (mean(a), quantity(a.best if a else None))]
        rows.append((Cell(labels[group.key]), count(len(group.seeds())), *cells))
    if not any(group.bound(split) for group in groups for split in Split):
        return []
    title = "final bounds: mean ± s.e. over seeds, nats per example, each at its own K"
    known = {split: {n for group in groups for row in group.seeds() if (n := row.examples(split))} for split in Split}
    counts = [f"{' or '.join(f'{n:,}' for n in sorted(found))} {split}" for split, found in known.items() if found]
    over = f"; over {listed(counts)} examples" if counts else ""
    return [Table(title + over, tuple(columns), tuple(rows))]


def _gains(groups: Sequence[Group], labels: Labels) -> list[Table]:
    """Return a table for runs that trained the encoder alone: the parent's bound, and the gain over it."""
    rows: list[tuple[Cell, ...]] = []
    for group in groups:
        pairs = [(group.before(split), group.gain(split)) for split in Split]
        if any(gain for _, gain in pairs):
            cells = [
                cell for before, gain in pairs for cell in (quantity(before.mean if before else None), _gain(gain))
            ]
            rows.append((Cell(labels[group.key]), *cells))
    columns = [_GROUP, *(Column(name) for split in Split for name in (f"{split} of parent", f"{split} gain"))]
    title = "encoder alone: the parent's bound and the gain over it, nats per example"
    return [Table(title, tuple(columns), tuple(rows))] if rows else []


def _gain(found: Aggregate | None) -> Cell:
    return Cell(difference(found.mean, found.stderr), found.mean) if found else NOTHING


def comparison(comparisons: Sequence[Comparison], labels: Labels) -> Section:
    """Return the section with all paired comparisons: those of ``shown_first`` are open, the others are folded."""
    if not comparisons:
        return Section("comparisons", "Paired comparisons")
    first, shown = comparisons[0], shown_first(comparisons)
    folded: list[Table] = []
    if len(first.pairs) > MOST_PAIRS:
        table = pairs_table(first, labels, first.pairs)
        folded.append(replace(table, title=f"all {len(first.pairs)} pairs: {first.measure.text}"))
    folded += [pairs_table(each, labels, shown_pairs(each)) for each in comparisons if each not in shown]
    tables = tuple(pairs_table(each, labels, shown_pairs(each)) for each in shown)
    return Section("comparisons", "Paired comparisons", tables=tables, folded=tuple(folded))


def along(found: Sequence[Along], labels: Labels) -> Section:
    """Return the section with the comparisons along each setting, all other settings equal."""
    tables = [along_table(each, labels) for each in found]
    lead = tuple(note for table in tables if not table.rows for note in table.notes)
    return Section("along", "Along one setting", lead=lead, tables=tuple(each for each in tables if each.rows))


def evaluations(groups: Sequence[Group], labels: Labels) -> Section:
    """Return the section with results of ``dreg eval``, over seeds."""
    found = [(labels[group.key], key, each) for group in groups for key, each in group.evaluations().items()]
    if not found:
        return Section("evaluations", "Evaluations")
    names = ("K", "examples", "step", "eval seed", "seeds", "bound", "ESS")
    names = (*names, "k-hat, median", "k-hat above 0.7", "active units")
    columns = (_GROUP, Column("split", numeric=False), *map(Column, names))
    rows = tuple((Cell(label), Cell(key.split), *_evaluated(key, each)) for label, key, each in found)
    khat = any(each.khat_share for _, _, each in found)
    table = Table(
        "evaluations: mean ± s.e. over seeds, nats per example", columns, rows, (_ERRORS, *([_KHAT] if khat else []))
    )
    return Section("evaluations", "Evaluations", tables=(table, *_curves(found), *_layers(found)))


def _evaluated(key: EvaluationKey, found: Evaluated) -> list[Cell]:
    return [
        *map(count, (key.k, key.n)),
        _step(found),
        *map(count, (key.seed, found.bound.n)),
        mean(found.bound),
        in_brief(found.ess, ".1f"),
        in_brief(found.khat, ".2f"),
        share(found.khat_share),
        in_brief(found.active_units, ".3g"),
    ]


def _step(found: Evaluated) -> Cell:
    return Cell(found.step_in_words, float(found.steps[0]))


def _curves(found: Sequence[tuple[str, EvaluationKey, Evaluated]]) -> list[Table]:
    """Return a table of the bound by K, if an evaluation has more than one K."""
    curves = [each for each in found if len(each[2].curve) > 1]
    ks = sorted({k for _, _, each in curves for k in each.curve})
    settings = (Column("split", numeric=False), *map(Column, ("examples", "step", "eval seed")))
    columns = (_GROUP, *settings, *(Column(f"K={k:,}") for k in ks))
    rows = [
        (
            Cell(label),
            Cell(key.split),
            count(key.n),
            _step(each),
            count(key.seed),
            *(mean(each.curve.get(k)) for k in ks),
        )
        for label, key, each in curves
    ]
    return [Table("bound by K: mean ± s.e. over seeds, nats per example", columns, tuple(rows))] if curves else []


def _layers(found: Sequence[tuple[str, EvaluationKey, Evaluated]]) -> list[Table]:
    """Return a table of the KL and the active units by layer, if a model has several layers."""
    settings = (Column("split", numeric=False), *map(Column, ("K", "examples", "step", "eval seed")))
    names = ("KL(q||prior)", "active units", "units", "seeds in which it has collapsed")
    columns = (_GROUP, *settings, Column("layer", numeric=False), *map(Column, names))
    rows = [
        (
            Cell(label),
            Cell(key.split),
            *map(count, (key.k, key.n)),
            _step(each),
            count(key.seed),
            Cell(name),
            mean(layer.kl),
            in_brief(layer.active_units, ".3g"),
            NOTHING if layer.units is None else count(layer.units),
            count(layer.collapsed),
        )
        for label, key, each in found
        for name, layer in each.layers.items()
    ]
    title = (
        "by layer, nearest to x first: mean ± s.e. over seeds, nats per example; the prior is given the layers "
        "above. The parts add up to KL(q||prior); that of a layer which q draws before the layers above it may be "
        "negative"
    )
    return [Table(title, columns, tuple(rows))] if rows else []


def bias(groups: Sequence[Group], labels: Labels) -> Section:
    """Return the section with each run's newest verdicts on bias, and with measured gradient variances."""
    names_of = {row.path: row.label for group in groups for row in group.rows}
    rows = [
        (
            Cell(shown_word(f"{each['objective']}/{each['estimator']}")),
            Cell(names_of[path]),
            Cell(labels[group.key]),
            count(each["k"]),
            Cell(str(each.get("promise", "-"))),
            Cell(str(each["verdict"])),
            _plain(bias_to_tested(each)),
            _plain(each.get("relative_bias")),
            _plain(each.get("detectable")),
        )
        for group in groups
        for path, each in group.bias()
    ]
    texts = ("promise", "verdict")
    columns = [Column(name, numeric=False) for name in ("pair", "run")] + [_GROUP, Column("K")]
    columns += [*(Column(name, numeric=False) for name in texts)]
    columns += [*map(Column, ("bias/tested", "bias/whole", "detectable"))]
    notes = (
        "bias/tested: norm of the bias / norm of the reference gradient over the tested blocks, in which the two "
        "estimators can differ. bias/whole: norm of the same bias / norm of the reference gradient over all "
        "parameters. Detectable: the bias/whole that the check would have found with a chance of 90 %.",
    )
    checks = [Table("bias checks: the newest of each run", tuple(columns), tuple(rows), notes)] if rows else []
    found = [
        (Cell(row.label), Cell(str(row.variance[-1]["summary"])))
        for group in groups
        for row in group.rows
        if row.variance
    ]
    columns = (Column("run", numeric=False), Column("what was found", numeric=False))
    measured = (
        [Table("gradient variance: the newest measurement of each run", columns, tuple(found))] if found else []
    )
    return Section(
        "gradients", "Bias and variance of gradients", tables=(*checks, *measured, *_tracked(groups, labels))
    )


def _plain(value: object) -> Cell:
    return Cell(f"{value:.4f}", value) if isinstance(value, float) else NOTHING


def _tracked(groups: Sequence[Group], labels: Labels) -> list[Table]:
    rows = [(Cell(labels[group.key]), *cells) for group in groups for cells in tracked_rows(group)]
    found = {note: labels[group.key] for group in groups if (note := tracked_note(group))}
    notes = [*found] if len(found) == 1 else [f"{label}: {note}" for note, label in found.items()]
    return [Table(TRACKED_TITLE, (_GROUP, *tracked_columns()), tuple(rows), tuple(notes))] if rows else []


def about(groups: Sequence[Group]) -> str:
    """Count runs and groups: ``20 runs in 4 groups``."""
    runs = sum(len(group.rows) for group in groups)
    return f"{counted(runs, 'run')} in {counted(len(groups), 'group')}"
