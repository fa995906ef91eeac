"""From exceptions to what the user reads and the exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback

import click

from elman.cli.synonyms import nearest_option
from elman.errors import ElmanError

MEMORY_SIGNS = ("can't allocate memory", "out of memory", "not enough memory")


class Terminated(BaseException):
    """The process was asked to end (SIGTERM)."""


def report(error: BaseException, debug: bool) -> int:
    """Write an error to stderr and return the exit code for it.

    Args:
        error: What was raised.
        debug: Show the traceback as well.
    """
    if isinstance(error, BrokenPipeError):
        return _reader_went_away()
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and error.ctx and error.ctx.parent is None:
        click.echo(error.ctx.get_help())  # `elman` alone asks for help
        return 0
    if debug:
        _write("".join(traceback.format_exception(error)))
    text, code = describe(error)
    _write(f"error: {text}\n")
    return code


def _reader_went_away() -> int:
    # stdout is pointed at nothing, or the interpreter would complain when it flushes at exit.
    if sys.__stdout__ is not None and sys.stdout is sys.__stdout__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())
    return 141


def describe(error: BaseException) -> tuple[str, int]:
    """Return what to tell the user about an exception, and the exit code."""
    match error:
        case ElmanError():
            return str(error), error.exit_code
        case click.Abort() | KeyboardInterrupt():
            return "interrupted", 130
        case Terminated():
            return "terminated", 143
        case click.UsageError():
            return _usage(error), 2
        case click.ClickException():
            return error.format_message(), 1
        case MemoryError():
            return _with_hint("memory: more is needed than there is", "use smaller sizes"), 1
        case RecursionError():
            return _with_hint("input: must not be nested this deeply", "run with --debug to see where"), 1
        case OSError():
            return _system(error)
        case _:
            return _unexpected(error), 1


def _usage(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "elman"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return _with_hint(*_word_missing(error.ctx, path))
    if isinstance(error, click.NoSuchOption):
        known = _options_of(error.ctx) if error.ctx else []
        close = nearest_option(error.option_name, known)
        text = f"option must be one that the command has; got {error.option_name!r}{close}"
    else:
        text = error.format_message().rstrip(".")
    return _with_hint(f"{path}: {text}", f"see: {path} --help")


def _word_missing(context: click.Context | None, path: str) -> tuple[str, str]:
    known = context.command.list_commands(context) if context and isinstance(context.command, click.Group) else []
    what, hint = ("task", "`elman tasks` says what each is for") if path == "elman train" else ("command", "")
    return f"{path}: {what} must be given, one of {', '.join(known)}", hint or f"see: {path} --help"


def _options_of(context: click.Context) -> list[str]:
    return [option for parameter in context.command.params for option in (*parameter.opts, *parameter.secondary_opts)]


def _system(error: OSError) -> tuple[str, int]:
    where = error.filename if isinstance(error.filename, str) else "file system"
    text = f"{where}: must be usable; got {error.strerror or error}"
    return text, 66 if error.errno == errno.ENOENT else 74


def _unexpected(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    if any(sign in str(error) for sign in MEMORY_SIGNS):
        return _with_hint(f"memory: more is needed than there is ({first[:200]})", "use smaller sizes")
    return _with_hint(f"unexpected {type(error).__name__}: {first[:300]}", "run with --debug and report what it shows")


def _with_hint(text: str, hint: str) -> str:
    return f"{text}\n\nhint: {hint}"


def printable(text: str) -> str:
    """Return text with control characters and lone surrogates escaped, so that no file name can steer a terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape", "backslashreplace").decode("ascii")
        for c in text
    )


def _write(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(printable(text))
        sys.stderr.flush()
