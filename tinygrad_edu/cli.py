"""The command `tinygrad-edu`."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .backend import device, seed, use_device
from .callbacks import History
from .callbacks.progress import is_terminal
from .datasets import digits
from .errors import choice, message
from .files import write_atomically
from .layers import Dense, Dropout, Flatten, Input
from .models import Sequential
from .optimizers import Adam

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""
MODEL = "model.safetensors"
CURVES = "curves.png"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with these arguments (those of the process if None) and returns the exit status."""
    arguments = parser().parse_args(argv)
    try:
        status = int(arguments.run(arguments) or 0)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except (OSError, ValueError, RuntimeError) as error:
        let_go_of_a_broken_output()
        print(f"tinygrad-edu: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tinygrad-edu: interrupted", file=sys.stderr)
        return INTERRUPTED


def let_go_of_a_broken_output() -> None:
    """What a closed pipe or a full disk did not take would fail once more when the program ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        sys.stdout = None


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
    return top


def add_train(commands: Any) -> None:
    text = "train a network on a data set and keep it in a folder"
    train = commands.add_parser(
        "train",
        help=text,
        description=f"{text.capitalize()}.\nCtrl-C ends the training early and keeps what was trained.",
        epilog="example:\n  tinygrad-edu train digits --epochs 10 --out runs/short",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument(
        "dataset",
        type=_dataset,
        help="digits: 1,797 handwritten digits of 8x8 pixels, a fifth held out for the test",
    )
    train.add_argument("--epochs", type=_integer(1), default=60, metavar="N", help="passes over the training data (60)")
    train.add_argument("--batch-size", type=_integer(1), default=32, metavar="N", help="rows per step (32)")
    train.add_argument("--learning-rate", type=_rate, default=0.003, metavar="X", help="size of a step of Adam (0.003)")
    train.add_argument(
        "--seed", type=_integer(0), default=0, metavar="N", help="of initial weights, order and dropout (0)"
    )
    train.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N, or auto (cpu)")
    train.add_argument("--out", metavar="FOLDER", help="where to write (the next free runs/digits-N)")
    train.set_defaults(run=train_digits)


def add_check(commands: Any) -> None:
    text = "check the gradient of every operation on this machine"
    check = commands.add_parser(
        "check", help=text, description=f"{text.capitalize()} against finite differences, a row an operation."
    )
    check.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N, or auto (cpu)")
    check.add_argument("--op", metavar="NAME", help="only this operation")
    check.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace) -> int:
    from .checks import run_check

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


def _dataset(text: str) -> str:
    if text != "digits":
        fault = str(choice("train", "the data set", text, ["digits"]))
        raise argparse.ArgumentTypeError(fault.removeprefix("train: "))  # argparse puts it there
    return text


def _integer(least: int) -> Any:
    def integer(text: str) -> int:
        value = int(text) if text.lstrip("+-").isdigit() else None
        if value is None or value < least:
            raise argparse.ArgumentTypeError(f"expected an integer of at least {least}, received {text!r}")
        return value

    return integer


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, received {text!r}")
    return value


# train digits


def train_digits(arguments: argparse.Namespace) -> int:
    chosen = device(arguments.device)
    seed(arguments.seed)
    folder = run_folder(arguments.out)
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    with use_device(chosen), on_signal(signal.default_int_handler, signal.SIGTERM):  # as Ctrl-C
        model = digits_model()
        model.compile(Adam(arguments.learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        print(
            f"Training on {len(x_train):,} digits, testing on {len(x_test)} others; "
            f"{model.count_params():,} parameters; {chosen}."
        )
        started = time.perf_counter()
        ended: BaseException | None = None
        try:
            model.fit(x_train / 16, y_train, batch_size=arguments.batch_size, epochs=arguments.epochs)
        except (KeyboardInterrupt, OSError) as error:  # OSError: nobody reads what is printed any more
            ended = error
        with on_signal(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM):  # they wait until all is written
            seconds = time.perf_counter() - started
            accuracy = model.evaluate(x_test / 16, y_test, return_dict=True)["accuracy"]
            history = model.history or History()
            results = {
                "test_accuracy": accuracy,
                "seconds": seconds,
                "parameters": model.count_params(),
                "interrupted": ended is not None,
            }
            settings = {
                name: getattr(arguments, name)
                for name in ("dataset", "epochs", "batch_size", "learning_rate", "seed", "device")
            }
            written = write_run(folder, model, history, results, settings)
    if isinstance(ended, OSError):
        raise ended
    if ended:
        print("\nInterrupted: keeping what was trained so far.")
    print_table(
        [
            ("Test accuracy", f"{accuracy:.2%}"),
            ("Time", f"{seconds:.1f} s"),
            ("Parameters", f"{model.count_params():,}"),
            ("Epochs", f"{len(history.epoch)}"),
            ("Written to", f"{folder}{os.sep} ({', '.join(written)})"),
        ]
    )
    if history.epoch and CURVES not in written:
        print("No curves without matplotlib: pip install 'tinygrad-edu[viz]' draws them.")
    if not all(map(math.isfinite, history.history.get("loss", ()))):
        found = "one that is NaN or infinite"
        raise ValueError(message("train", "a finite loss", found, "choose a smaller --learning-rate."))
    return INTERRUPTED if ended else 0


@contextlib.contextmanager
def on_signal(handler: Any, *signals: signal.Signals) -> Iterator[None]:
    """Has this handler for these signals inside the block."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread is ever interrupted
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def digits_model() -> Sequential:
    """One hidden layer; dropout makes it at least 97 % right on digits it has not seen, whatever the seed."""
    return Sequential(
        [
            Input((8, 8)),
            Flatten(),
            Dropout(0.1),
            Dense(128, activation="relu", kernel_initializer="he_uniform"),
            Dropout(0.5),
            Dense(10, activation="softmax"),
        ]
    )


def run_folder(out: str | None) -> Path:
    """A folder that can be written, found out before the training; by default the next free runs/digits-N."""
    if out == "":
        raise ValueError(message("train", "--out to name a folder", "''"))
    if out is None:
        runs = Path("runs")
        numbers = [int(path.name[7:]) for path in runs.glob("digits-*") if path.name[7:].isdigit()]
        folder = runs / f"digits-{max(numbers, default=0) + 1}"
    else:
        folder = Path(out)
    if (folder / MODEL).exists():
        raise ValueError(message("train", "a folder without a run", repr(str(folder)), "choose another with --out."))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".can-be-written"
        probe.write_bytes(b"\0" * 1_000_000)  # more than a run needs, so that a full disk shows here
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"cannot write to the folder {str(folder)!r}: {error.strerror or error}. Choose another with --out."
        ) from None
    return folder


def write_run(folder: Path, model: Sequential, history: History, results: Any, settings: Any) -> list[str]:
    """Writes the model, the history and, where matplotlib is there, the curves; returns the names of the files."""
    model.save(folder / MODEL)
    # JSON has no NaN and no inf
    curves = {name: [v if math.isfinite(v) else None for v in values] for name, values in history.history.items()}
    content = {"settings": settings, "results": results, "epoch": history.epoch, "history": curves}
    write_atomically(folder / "history.json", f"{as_json(content)}\n".encode())
    written = [MODEL, "history.json"]
    if history.epoch and draw_curves(folder / CURVES, history, results["test_accuracy"]):
        written.append(CURVES)
    return written


def as_json(value: Any, margin: str = "") -> str:
    """JSON with a line per entry of a dict, but a list in one line."""
    if not isinstance(value, dict):
        return json.dumps(value, allow_nan=False)
    inner = margin + " "
    rows = ",\n".join(f"{inner}{json.dumps(name)}: {as_json(entry, inner)}" for name, entry in value.items())
    return f"{{\n{rows}\n{margin}}}"


def draw_curves(path: Path, history: History, test_accuracy: float) -> bool:
    """Draws loss and accuracy over the epochs, and the accuracy on the test data as a line. Returns False where
    matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, values) in zip(
        figure.subplots(1, len(history.history), squeeze=False)[0], history.history.items(), strict=True
    ):
        axes.plot([epoch + 1 for epoch in history.epoch], values, marker="." if len(values) < 40 else "")
        axes.set_title(f"{name} on the training data")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        if name == "accuracy":
            axes.axhline(test_accuracy, color="C1", linestyle="--", label=f"test data, at the end: {test_accuracy:.2%}")
            axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    return True


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    """A table with lines on a terminal, plain columns elsewhere."""
    if is_terminal():
        from rich.console import Console
        from rich.table import Table

        table = Table(show_header=False)
        for row in rows:
            table.add_row(*row)
        Console(markup=False, emoji=False).print(table)  # a folder's name is not markup
        return
    for name, value in rows:
        print(f"{name:<14} {value}")


if __name__ == "__main__":
    sys.exit(main())
