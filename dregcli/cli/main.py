"""The program: its commands, and the boundary where errors become messages and exit codes."""

import contextlib
import gc
import os
import platform
import signal
import sys
import tempfile
import traceback
from typing import Annotated

import typer

from dregcli import __version__
from dregcli.app.common.interrupts import on_termination
from dregcli.cli import runs, spec
from dregcli.cli.datasets import data, download
from dregcli.cli.diagnosis import bias_check, estimators, variance
from dregcli.cli.evaluation import evaluate
from dregcli.cli.mistyped import message_of
from dregcli.cli.render import Terminal
from dregcli.cli.reporting import report
from dregcli.cli.sampling import sample
from dregcli.cli.streams import ReaderLeft, Streams
from dregcli.cli.training import finetune, train
from dregcli.commands import forget_folders
from dregcli.errors import DregError, Interrupted, OutputLost, Terminated, UsageError
from dregcli.redaction import redacted, redacted_words

UNEXPECTED = 3

_READER_LEFT = 141
"""As the shell says it of a program that SIGPIPE ended."""

app = typer.Typer(
    name="dreg",
    help="Train deep latent-variable models with multi-sample bounds and gradient estimators you can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},  # of all commands
    epilog="Start with:  [bold]dreg train --estimator dreg --objective iwae[/bold]",
)
app.command("download", epilog=download.EXAMPLES)(download.download)
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
app.add_typer(spec.app, name="spec")
app.command("estimators", epilog=estimators.EXAMPLES)(estimators.estimators)
app.command("train", epilog=train.EXAMPLES)(train.train)
app.command("finetune-encoder", epilog=finetune.EXAMPLES)(finetune.finetune_encoder)
app.command("bias-check", epilog=bias_check.EXAMPLES)(bias_check.bias_check)
app.command("variance", epilog=variance.EXAMPLES)(variance.variance)
app.command("eval", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("sample", epilog=sample.EXAMPLES)(sample.sample)
app.command("report", epilog=report.EXAMPLES)(report.report)


def _show_version(wanted: bool) -> None:
    if wanted:
        Terminal().line(f"dreg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Commands of dreg."""


def _unexpected(arguments: list[str]) -> DregError:
    """Keep the traceback in a file; the user gets its path, or the place in the program where there can be none."""
    error = sys.exc_info()[1]
    what = f"Unexpected error: {type(error).__name__}: {error}"
    hint = "this is a fault of dreg: report it with that file"
    try:
        handle, path = tempfile.mkstemp(prefix="dreg-error-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"dreg {__version__}, Python {platform.python_version()}, {platform.platform()}\n")
            # The file is for others to read, who need no passwords.
            file.write(redacted(f"arguments: {redacted_words(arguments)}\n\n{traceback.format_exc()}"))
    except OSError as refused:
        last = traceback.extract_tb(error.__traceback__ if error else None)[-1:]
        path = "".join(f"{frame.filename}, line {frame.lineno}" for frame in last)
        hint = f"this is a fault of dreg: report it with this place; no log could be written ({refused.strerror})"
    return DregError(what, where=path, hint=hint)


def _help_for(arguments: list[str]) -> str:
    """The help of the command that was typed, as far as it is one."""
    words = ["dreg"]
    if arguments and arguments[0] in {command.name for command in app.registered_commands}:
        words.append(arguments[0])
    for group in app.registered_groups:
        if arguments and arguments[0] == group.name and group.typer_instance:
            inside = {command.name for command in group.typer_instance.registered_commands}
            words += [arguments[0], *(word for word in arguments[1:2] if word in inside)]
    return " ".join([*words, "--help"])


class _Termination:
    """SIGTERM and its like, where no command has a better answer: what lies aside is removed, as for Ctrl-C."""

    received: signal.Signals | None = None

    def __call__(self, number: signal.Signals) -> None:
        self.received = number
        # Not an Exception, which readers of damaged files would take for damage.
        raise KeyboardInterrupt

    def error(self) -> Interrupted:
        """What ended the command, if something did: this or Ctrl-C."""
        if self.received is None:
            return Interrupted("Interrupted.")
        return Terminated("Terminated." if self.received is signal.SIGTERM else f"Stopped by {self.received.name}.")


_termination = _Termination()


def main(arguments: list[str]) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name.

    Returns:
        The exit code.
    """
    with Streams() as streams:
        try:
            code = _run(arguments)
            if (lost := streams.end()) and code not in (Interrupted.exit_code, Terminated.exit_code):
                return lost.exit_code  # but a signal's code stays: who sent it waits for it
            return code
        except ReaderLeft:
            return _READER_LEFT
        except OutputLost as lost:
            with contextlib.suppress(ReaderLeft):
                Terminal().error(lost)
            return lost.exit_code
        finally:
            forget_folders()


def _run(arguments: list[str]) -> int:
    """Run one command, its errors shown as messages.

    Raises:
        ReaderLeft, OutputLost: they cannot be shown, or its results cannot.
    """
    terminal = Terminal(as_json="--json" in arguments)
    try:
        return _run_command(arguments, terminal)
    except KeyboardInterrupt:  # while an error was shown
        return _termination.error().exit_code


def _run_command(arguments: list[str], terminal: Terminal) -> int:
    try:
        code: object = app(args=arguments, prog_name="dreg", standalone_mode=False)
    except (ReaderLeft, OutputLost):
        raise
    except DregError as error:
        terminal.error(error)
        return error.exit_code
    except typer.TyperException as error:
        if message := message_of(error, arguments):
            terminal.error(UsageError(message, hint=_help_for(arguments)))
        return UsageError.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = Interrupted.exit_code
    except Exception:
        terminal.error(_unexpected(arguments))
        return UNEXPECTED
    # Typer gives this code where a signal ended a command.
    if code == Interrupted.exit_code:
        error = _termination.error()
        terminal.error(error)
        return error.exit_code
    return code if isinstance(code, int) else 0


_BETWEEN_COLLECTIONS = 50_000
"""Objects that are made between two collections; Python's own 700 are for small programs."""


def entry() -> None:
    """The console script."""
    on_termination(_termination)
    # Nearly all that a short command makes are modules, which stay: looking for garbage there takes an eighth more.
    gc.set_threshold(_BETWEEN_COLLECTIONS)
    raise SystemExit(main(sys.argv[1:]))
