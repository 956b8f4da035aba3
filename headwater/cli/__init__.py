"""The `headwater` command. Nouns then verbs; `--json` on every listing; exit codes 0 ok, 1 finding, 2 usage or error."""

import importlib
import os
import select
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from headwater.cli._explain import explain
from headwater.cli._options import check_text
from headwater.errors import HeadwaterError

# Command to the module below this package and the object in it: a command loads only what it needs.
_COMMANDS: Final = {
    "build": ("_build", "build"),
    "cost": ("_cost", "cost"),
    "decisions": ("_decisions", "decisions"),
    "land": ("_land", "land"),
    "lake": ("_lake", "lake"),
    "log": ("_log", "log"),
    "model": ("_model", "model"),
    "product": ("_product", "product"),
    "mlflow": ("_mlflow", "mlflow"),
    "replay": ("_replay", "replay"),
    "release": ("_release", "release"),
    "retraining": ("_retraining", "retraining"),
    "sensors": ("_watch", "sensors"),
    "review": ("_review", "review"),
    "serve": ("_serve", "serve"),
    "status": ("_build", "status"),
    "stream": ("_stream", "stream"),
    "up": ("_up", "up"),
    "watch": ("_watch", "watch"),
}


class _PipeError(Exception):
    """A broken pipe, in words that click does not take for its own: it ends with code 1 and says nothing."""


@contextmanager
def _broken_pipes_told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _PipeError(str(error)) from error


class _Late(click.Group):
    """A group whose commands are imported when called."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        with _broken_pipes_told():
            return super().make_context(*args, **more)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        check_text(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _broken_pipes_told():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        found: click.Command = getattr(importlib.import_module(f"headwater.cli.{module}"), name)
        return found


@click.group(cls=_Late, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="headwater")
def cli() -> None:
    """Headwater: a data and model lakehouse whose every version is one audited lake commit."""


def main() -> None:
    """Entry point: errors that Headwater can explain are one line on standard error; those and all others end with code 2."""
    try:
        # Outside of its standalone mode, click returns the code of `Exit` instead of raising it.
        sys.exit(cli(standalone_mode=False))
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except HeadwaterError as error:
        click.echo(f"headwater: {error}", err=True)
        sys.exit(2)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # rich's way to end when nobody reads its tables
            sys.exit(0)
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no finding, which is what code 1 says
        if isinstance(error, _PipeError) and _nobody_reads():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the last flush goes nowhere
            sys.exit(0)
        if (said := explain(error)) is not None:
            click.echo(f"headwater: {said}", err=True)
        else:
            traceback.print_exception(error)
        sys.exit(2)


def _nobody_reads() -> bool:
    """Whether who read standard output is gone; a pipe to anything else that breaks is an error."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return bool(output.poll(0))
