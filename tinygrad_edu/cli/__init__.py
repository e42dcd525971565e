"""The command `tinygrad-edu`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import message
from .digits import add_digits
from .doctor import add_doctor
from .programs import add_programs, run
from .status import exit_status

__all__ = ["exit_status", "main", "run"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with these arguments (those of the process if None) and returns the exit status."""
    arguments = parser().parse_args(argv)
    return exit_status(lambda: arguments.run(arguments))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="tinygrad-edu",
        description="A deep-learning framework small enough to read in an afternoon.",
        epilog="examples:\n  tinygrad-edu train digits --epochs 10\n  tinygrad-edu check --op softmax",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"tinygrad-edu {__version__}")
    top.set_defaults(run=lambda _: print(top.format_help(), end=""))  # without a command
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    add_train(commands)
    add_check(commands)
    add_bench(commands)
    add_doctor(commands)
    return top


def add_train(commands: Any) -> None:
    text = "train a network: one that is kept, or one of the programs that teach"
    train = commands.add_parser(
        "train",
        help=text,
        description=f"{text.capitalize()}.",
        epilog="examples:\n  tinygrad-edu train digits --epochs 10\n  tinygrad-edu train xor --plot",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    programs = train.add_subparsers(title="programs", metavar="NAME", required=True)
    add_digits(programs)
    add_programs(programs)


def add_check(commands: Any) -> None:
    text = "check the gradient of every operation on this machine"
    check = commands.add_parser(
        "check", help=text, description=f"{text.capitalize()} against finite differences, a row an operation."
    )
    check.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N, or auto (cpu)")
    check.add_argument("--op", metavar="NAME", help="only this operation")
    check.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace) -> int:
    from ..checks import run_check

    return int(run_check(device=arguments.device, op=arguments.op) or 0)


def add_bench(commands: Any) -> None:
    text = "measure speed beside other frameworks, in a checkout of the source"
    # "-" begins no option here: all that follows, also --help, is for the benchmarks
    bench = commands.add_parser("bench", help=text, add_help=False, prefix_chars="+")
    bench.add_argument("options", nargs="*")
    bench.set_defaults(run=run_bench)


def run_bench(arguments: argparse.Namespace) -> int:
    if not Path("benchmarks", "__main__.py").is_file():
        hint = "they are not part of the installed package: get the source of tinygrad_edu and run this in its folder."
        raise ValueError(message("bench", "the folder 'benchmarks' in the current one", repr(os.getcwd()), hint))
    return subprocess.call([sys.executable, "-m", "benchmarks", *arguments.options])
