"""The ``healthgpt`` command: which verbs there are, and how every fault becomes one line and an exit code.

Nothing heavy is imported here, or by the command files at their top: ``--help`` must not wait for torch.
"""

import sys
from typing import Annotated, Any

import typer

from healthgpt.cli import ask, chat, data, demo, doctor, evaluate, generate, models, plugins, recipes, train
from healthgpt.cli.console import RESEARCH_ONLY, STOPPED, note, quiet_libraries, tell_fault
from healthgpt.version import VERSION

app = typer.Typer(
    name="healthgpt",
    help=f"One model that reads and draws medical images. {RESEARCH_ONLY}",
    epilog='Start here:  healthgpt ask IMAGE "What does this image show?"',
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"healthgpt {VERSION}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


app.command("ask")(ask.ask)
app.command("generate")(generate.generate)
app.command("chat")(chat.chat)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("doctor")(doctor.doctor)
app.add_typer(recipes.app, name="recipes")
app.add_typer(models.app, name="models")
app.add_typer(plugins.app, name="plugins")
app.add_typer(data.app, name="data")


def main(arguments: list[str]) -> int:
    """Run one command line; returns its exit code: 0 done, 2 the caller's input is wrong, 1 a fault of ours."""
    quiet_libraries()
    try:
        return int(app(arguments, prog_name="healthgpt", standalone_mode=False) or 0)
    except KeyboardInterrupt:
        note("stopped")
        return STOPPED
    except typer.Abort:
        note("stopped")
        return STOPPED
    except Exception as fault:
        context = getattr(fault, "ctx", None)
        command = context.command_path if context else ""
        return tell_fault(fault, usage=command, found=_value_typed(arguments, getattr(fault, "param", None)))


def _value_typed(arguments: list[str], parameter: Any) -> str:
    """What was typed for an option whose value typer refused; typer's message leaves it out."""
    names = [*getattr(parameter, "opts", []), *getattr(parameter, "secondary_opts", [])]
    for place, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else "".join(arguments[place + 1 : place + 2])
    return ""


def run() -> None:
    """Entry point of the ``healthgpt`` script."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
