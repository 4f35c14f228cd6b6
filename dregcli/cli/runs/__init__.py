"""``dreg runs``: what there is in a store, and what can be done with it beside training. A file for each command."""

import typer

from dregcli.cli.runs import carry, diff, doctor, label, list_, remove, rerun, show, verify

app = typer.Typer(
    help="The runs of a store: list, compare, label, verify, move, remove, repeat.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog="What there is:  [bold]dreg runs list[/bold]",
)
app.command("list", epilog=list_.EXAMPLES)(list_.list_)
app.command("show", epilog=show.EXAMPLES)(show.show)
app.command("diff", epilog=diff.EXAMPLES)(diff.diff)
app.command("tag", epilog=label.TAG_EXAMPLES)(label.tag)
app.command("note", epilog=label.NOTE_EXAMPLES)(label.note)
app.command("verify", epilog=verify.EXAMPLES)(verify.verify)
app.command("rm", epilog=remove.RM_EXAMPLES)(remove.rm)
app.command("gc", epilog=remove.GC_EXAMPLES)(remove.gc)
app.command("export", epilog=carry.EXPORT_EXAMPLES)(carry.export)
app.command("import", epilog=carry.IMPORT_EXAMPLES)(carry.import_)
app.command("rerun", epilog=rerun.EXAMPLES)(rerun.rerun)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
