"""What commands have in common: options that many take, and how a function becomes a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, cast, get_type_hints

import typer

from remit.cli.invocation import invocation_of, run_command

if TYPE_CHECKING:
    from remit.cli.connect import Invocation

Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="The data folder (REMIT_DATA, else ~/.remit).")
]
UnsafeLocal = Annotated[
    bool, typer.Option("--unsafe-local", help="Run without a sandbox, where none can be had. Not isolated.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]

Running = Coroutine[Any, Any, int]
"""What a command does; it ends with the exit code."""
P = ParamSpec("P")


def group(name: str, help: str, *, add_completion: bool = True) -> typer.Typer:
    """The program, or commands that have a word in common."""
    return typer.Typer(
        name=name,
        help=help,
        add_completion=add_completion,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def command(
    app: typer.Typer, name: str, *, takes_json: bool = True
) -> Callable[[Callable[Concatenate[Invocation, P], Running]], Callable[Concatenate[Invocation, P], Running]]:
    """Make a function a command. Behind its own parameters come the general options; it is given what they say."""

    def add(
        function: Callable[Concatenate[Invocation, P], Running],
    ) -> Callable[Concatenate[Invocation, P], Running]:
        def run(
            context: typer.Context,
            json: Json = False,
            data: Data = None,
            unsafe_local: UnsafeLocal = False,
            **own: Any,  # Any: as the function's own parameters say
        ) -> int:
            invocation = invocation_of(context, data, unsafe_local, json=json)
            running = cast("Callable[..., Running]", function)(invocation, **own)
            return run_command(lambda: running)

        run.__doc__ = function.__doc__
        run.__signature__ = _signature(run, function, takes_json=takes_json)  # pyright: ignore[reportFunctionMemberAccess]  # what typer reads
        app.command(name=name)(run)
        return function

    return add


def _signature(
    run: Callable[..., int], function: Callable[..., Running], *, takes_json: bool
) -> inspect.Signature:
    """Of a command: the function's own parameters, before the general options."""
    context, *general, _ = inspect.signature(run, eval_str=True).parameters.values()
    hints = get_type_hints(function, localns={"Invocation": object}, include_extras=True)
    _, *own = inspect.signature(function).parameters.values()
    found = [
        context,
        *(one.replace(annotation=hints[one.name]) for one in own),
        *(one for one in general if takes_json or one.name != "json"),
    ]
    return inspect.Signature([one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in found])
