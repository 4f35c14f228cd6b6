"""The program: its commands, and the boundary where errors become messages and exit codes.

A module that ``dreg --version`` and ``dreg --help`` do not need is imported only where it is used.
"""

import contextlib
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.main import get_command

from dregcli import __version__
from dregcli.app.common.interrupts import on_termination
from dregcli.app.common.process import prepare_environment
from dregcli.cli.lazy import CommandGroup
from dregcli.cli.streams import ReaderLeft, Streams
from dregcli.cli.tree import COMMANDS, commands
from dregcli.commands import forget_folders
from dregcli.errors import DregError, Interrupted, OutputLost, RunNotFound, Terminated, UsageError

if TYPE_CHECKING:
    from dregcli.cli.render import Terminal

UNEXPECTED = DregError.exit_code

_READER_LEFT = 141
"""The exit code that a shell reports for a program that SIGPIPE ended."""

app = typer.Typer(
    name="dreg",
    cls=CommandGroup,
    help="Train deep latent-variable models with multi-sample bounds and gradient estimators you can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},  # for all commands
    epilog="Start with:  [bold]dreg train --estimator dreg --objective iwae[/bold]",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dreg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Commands of dreg."""


def program() -> Any:  # noqa: ANN401 - Typer keeps the type private
    """Return the program for Typer to run; its commands are imported only when they are called."""
    found: Any = get_command(app)
    found.commands.update(commands())
    return found


def _of_a_model(error: Exception) -> DregError | None:
    """Return an error in the user's words if code of the user's model raised it; see ``raised_by_a_model``."""
    if "dregcli.app.models.importing" not in sys.modules:  # no code of a user's was run
        return None
    from dregcli.app.models.importing import raised_by_a_model

    return raised_by_a_model(error)


def _unexpected(arguments: list[str]) -> DregError:
    """Write the traceback to a file, and return an error with its path.

    If the file cannot be written, the error names the place in the program instead.
    """
    import platform
    import tempfile
    import traceback

    from dregcli.redaction import redacted, redacted_words

    error = sys.exc_info()[1]
    what = f"Unexpected error: {type(error).__name__}: {error}"
    hint = "this is a fault in dreg: report it with this file"
    try:
        handle, path = tempfile.mkstemp(prefix="dreg-error-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"dreg {__version__}, Python {platform.python_version()}, {platform.platform()}\n")
            # Other people will read the file, and must not see passwords.
            file.write(redacted(f"arguments: {redacted_words(arguments)}\n\n{traceback.format_exc()}"))
    except OSError as refused:
        last = traceback.extract_tb(error.__traceback__ if error else None)[-1:]
        path = "".join(f"{frame.filename}, line {frame.lineno}" for frame in last)
        hint = f"this is a fault in dreg: report it with this place; no log could be written ({refused.strerror})"
    return DregError(what, where=path, hint=hint)


def _terminal(arguments: list[str]) -> "Terminal":
    """Return the terminal that shows the error of a command."""
    from dregcli.cli.render import Terminal

    return Terminal(as_json="--json" in arguments)


def _help_for(arguments: list[str]) -> str:
    """Return the command that shows the help for what the user typed."""
    words: list[str] = []
    for word in arguments[:2]:
        if not any(typed.split()[: len(words) + 1] == [*words, word] for typed in COMMANDS):
            break
        words.append(word)
    return " ".join(["dreg", *words, "--help"])


def _hint_of_no_run(error: RunNotFound, arguments: list[str]) -> str | None:
    """Return the command with the missing option, if the word in place of a run has another meaning."""
    from dregcli.cli.lazy import CommandByName
    from dregcli.cli.mistyped import hint_of_no_run

    placeholder = program().commands.get(arguments[0] if arguments else "")
    command = placeholder.load() if isinstance(placeholder, CommandByName) else None
    return hint_of_no_run(error, arguments, command) if command else None


class _Termination:
    """Handles SIGTERM and similar signals like Ctrl-C, if no command handles them: temporary files are removed."""

    received: signal.Signals | None = None

    def __call__(self, number: signal.Signals) -> None:
        self.received = number
        # Not an Exception: code that reads damaged files would catch it and report damage.
        raise KeyboardInterrupt

    def error(self) -> Interrupted:
        """Return the error for the signal that ended the command, or for Ctrl-C."""
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
                return lost.exit_code  # a signal's code stays, because the sender waits for it
            return code
        except ReaderLeft:
            return _READER_LEFT
        except OutputLost as lost:
            with contextlib.suppress(ReaderLeft):
                _terminal([]).error(lost)
            return lost.exit_code
        finally:
            forget_folders()


def _run(arguments: list[str]) -> int:
    """Run one command, and show its errors as messages.

    Raises:
        ReaderLeft, OutputLost: the messages or the results cannot be shown.
    """
    try:
        return _run_command(arguments)
    except KeyboardInterrupt:  # the user pressed Ctrl-C while an error was shown
        return _termination.error().exit_code


def _run_command(arguments: list[str]) -> int:
    try:
        code: object = program()(args=arguments, prog_name="dreg", standalone_mode=False)
    except (ReaderLeft, OutputLost):
        raise
    except DregError as error:
        if isinstance(error, RunNotFound):
            error.hint = _hint_of_no_run(error, arguments) or error.hint
        _terminal(arguments).error(error)
        return error.exit_code
    except typer.TyperException as error:
        from dregcli.cli.mistyped import hint_of, message_of

        if message := message_of(error, arguments):
            hint = hint_of(error, arguments) or _help_for(arguments)
            _terminal(arguments).error(UsageError(message, hint=hint))
        return UsageError.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = Interrupted.exit_code
    except SystemExit as done:  # raised by Typer's completion
        code = done.code
    except Exception as error:
        shown = _of_a_model(error) or _unexpected(arguments)
        _terminal(arguments).error(shown)
        return shown.exit_code
    if code == 1 and any(f"--{each}-completion" in arguments for each in ("install", "show")):
        what = "Completion works in bash, zsh, fish and PowerShell; your shell was not recognised as one of them."
        _terminal(arguments).error(UsageError(what, hint="run the command in one of these shells"))
        return UsageError.exit_code
    # Typer returns this code when a signal ended a command.
    if code == Interrupted.exit_code:
        error = _termination.error()
        _terminal(arguments).error(error)
        return error.exit_code
    return code if isinstance(code, int) else 0


_BETWEEN_COLLECTIONS = 50_000
"""Objects that Python creates between two garbage collections; its default of 700 suits small programs."""


def entry() -> None:
    """Run the program as the console script ``dreg``."""
    prepare_environment()
    on_termination(_termination)
    # Most objects of a short command belong to modules, which stay. Searching them for garbage adds an eighth.
    gc.set_threshold(_BETWEEN_COLLECTIONS)
    code = main(sys.argv[1:])
    # At its end Python searches all that is left for garbage, several times: torch's modules take 0.3 seconds.
    gc.freeze()
    raise SystemExit(code)
