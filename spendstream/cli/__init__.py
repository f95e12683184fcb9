"""The command line: thin commands, each loaded only when it is called, and one way to show an error."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

import click

from spendstream import __version__
from spendstream.errors import AlreadyRunning, ConfigError, RecordingError, SpendstreamError

__all__ = ["cli", "main"]

# name -> what it does; each lives in the module of this package that bears its name
_COMMANDS = {
    "up": "Run everything on this machine and watch spend arrive.",
    "replay": "Send a recording or a trace through the pipeline.",
    "record": "Write a topic to a recording.",
    "query": "Run read-only SQL on the configured ClickHouse.",
    "report": "Report what was spent, owed, saved and wasted; export it to other tools.",
    "reconcile": "Compare a provider's invoice with the ledger.",
    "deadletter": "Look at what could not be processed, and send it back.",
    "reprice": "Give events that had no price their costs, once there is one.",
    "alerts": "Try out the channels that alerts are sent to.",
    "recommend": "See what containers should request, and apply it.",
    "nodes": "See which nodes can go, and what that saves.",
    "load": "Send made-up traffic to a gateway.",
    "simulate": "Play a cluster and its AI calls before and after optimisation.",
    "gateway": "Run the gateway.",
    "api": "Run the console: dashboards in a browser.",
    "collect": "Collect what a Kubernetes cluster spends.",
    "keys": "Make API keys.",
    "audit": "Look at the audit log of the gateway, and verify it.",
    "worker": "Run a stream processor.",
    "sink": "Run the sinks.",
    "doctor": "Check that everything is there, up to date and in agreement.",
    "topics": "Create Kafka's topics, or look at them.",
    "migrate": "Bring ClickHouse's tables and Kafka's topics up to date.",
}
_EXIT_USAGE = 2
_EXIT_FAILURE = 1
_EXIT_INTERRUPTED = 130


class _LazyGroup(click.Group):
    """Imports a command's module when it is called, so that `--help` does not load Faust."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"spendstream.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101  # a programming error, not a user's
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="spendstream")
def cli() -> None:
    """See, limit and lower what AI and Kubernetes cost, while the money is being spent."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line; every expected error is one line on standard error and a non-zero exit."""
    try:
        cli.main(args=argv, prog_name="spendstream", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        _ask_for_a_command(error.ctx)
    except click.UsageError as error:
        name = error.ctx.command_path if error.ctx else "spendstream"
        _fail(f"{error.format_message()} See `{name} --help`.", _EXIT_USAGE)
    except click.ClickException as error:
        _fail(error.format_message(), _EXIT_USAGE)
    except (AlreadyRunning, ConfigError, RecordingError) as error:
        _fail(str(error), _EXIT_USAGE)
    except SpendstreamError as error:
        _fail(str(error), _EXIT_FAILURE)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(_EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        sys.stderr.close()


def _ask_for_a_command(context: click.Context) -> NoReturn:
    if context.parent is None:  # who says nothing at all wants to know what there is
        click.echo(context.get_help(), err=True)
        sys.exit(_EXIT_USAGE)
    assert isinstance(context.command, click.Group)  # noqa: S101  # no other has commands
    names = ", ".join(context.command.list_commands(context))
    path = context.command_path
    _fail(f"Missing command: expected one of {names}. See `{path} --help`.", _EXIT_USAGE)


def _fail(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        click.secho(f"spendstream: {line}", err=True, fg="red" if sys.stderr.isatty() else None)
    sys.exit(code)
