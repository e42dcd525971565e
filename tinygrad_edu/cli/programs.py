"""The programs in `examples/`: found, given their options, run.

Each has a function `main` that returns its figures by name. `run(main)` makes options of its parameters:

    def main(quick=False, plot=None, data: Literal["generated", "imdb"] = "generated"):
        ...
        return {"test accuracy": accuracy}

    if __name__ == "__main__":
        run(main)
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, get_args, get_type_hints

from ..backend import device, seed, use_device
from ..errors import message
from ..viz import subplots
from .arguments import integer, print_table
from .status import exit_status

Program: TypeAlias = Callable[..., Mapping[str, float]]
PACKAGE = Path(__file__).parents[1]


def run(main: Program) -> None:
    """Runs `main` with the options of the command line, prints the figures that it returns, and ends the process.

    The options are `--seed`, `--device` and the parameters of `main`: `quick=False`, a short form; `plot=None`, the
    file for a picture; and any other with a default and its choices as the annotation, `Literal[...]`.
    """
    sys.exit(exit_status(lambda: run_with_options(main, sys.argv[1:])))


def add_programs(programs: Any) -> None:
    for name, path in examples().items():
        description = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first = description.partition("\n")[0].replace("%", "%%")  # argparse fills in what follows a %
        # "-" begins no option here: all that follows, also --help, is for the program
        program = programs.add_parser(name, help=first, add_help=False, prefix_chars="+")
        program.add_argument("options", nargs="*")
        program.set_defaults(run=lambda arguments, name=name: run_example(name, arguments.options))


def examples() -> dict[str, Path]:
    """The programs by name: inside the installed package, or beside the package in a checkout."""
    folder = next(filter(Path.is_dir, (PACKAGE / "examples", PACKAGE.parent / "examples")), PACKAGE)
    return {path.stem: path for path in sorted(folder.glob("*.py"))} if folder != PACKAGE else {}


def run_example(name: str, options: Sequence[str]) -> int:
    return run_with_options(runpy.run_path(str(examples()[name]))["main"], options, f"tinygrad-edu train {name}")


def run_with_options(main: Program, options: Sequence[str], command: str | None = None) -> int:
    """The exit status. An error in the program has its traceback: whoever changes a program needs the line."""
    arguments = vars(options_of(main, command).parse_args(options))
    chosen = device(arguments.pop("device"))
    seed(arguments.pop("seed"))
    if arguments.get("plot"):
        check_picture(arguments["plot"])
    try:
        with use_device(chosen):
            figures = main(**arguments)
    except (ImportError, ValueError, RuntimeError):
        traceback.print_exc()
        return 1
    print_table([(name, f"{value:.4g}") for name, value in figures.items()])
    if arguments.get("plot"):
        print(f"Picture: {arguments['plot']}")
    return 0


def options_of(main: Program, command: str | None) -> argparse.ArgumentParser:
    """The parser of the options that `main` has."""
    parser = argparse.ArgumentParser(
        prog=command,
        description=main.__globals__["__doc__"],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    choices = get_type_hints(main)
    for name, parameter in inspect.signature(main).parameters.items():
        if name == "quick":
            parser.add_argument("--quick", action="store_true", help="a short form, in seconds")
        elif name == "plot":
            file = f"{Path(main.__globals__['__file__']).stem}.png"
            parser.add_argument("--plot", nargs="?", const=file, metavar="FILE", help=f"save a picture ({file})")
        else:
            text = f"({parameter.default})"
            parser.add_argument(f"--{name}", choices=get_args(choices[name]), default=parameter.default, help=text)
    parser.add_argument("--seed", type=integer(0), default=0, metavar="N", help="of all random numbers (0)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N, or auto (cpu)")
    return parser


def check_picture(path: str) -> None:
    """Raises, before the training, if a picture cannot be written to this path."""
    figure, _ = subplots()
    kinds, kind = figure.canvas.get_supported_filetypes(), Path(path).suffix[1:].lower()
    if kind not in kinds:
        raise ValueError(message("--plot", f"a file that ends in one of {', '.join(kinds)}", repr(path)))
    if Path(path).is_dir():
        raise ValueError(message("--plot", "a file", f"the folder {path!r}"))
    folder = Path(path).resolve().parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise OSError(f"cannot write to the folder {str(folder)!r}. Choose another file with --plot.")
