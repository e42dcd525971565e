"""`tinygrad-edu train digits`: a network in seconds, and a folder that keeps it."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..backend import device, seed, use_device
from ..callbacks import History
from ..datasets import digits
from ..errors import message
from ..files import write_atomically
from ..layers import Dense, Dropout, Flatten, Input
from ..models import Sequential
from ..optimizers import Adam
from ..viz import plot_history
from .arguments import integer, print_table, rate
from .status import INTERRUPTED

MODEL = "model.safetensors"
CURVES = "curves.png"


def add_digits(programs: Any) -> None:
    text = "train a network on handwritten digits and keep it in a folder"
    train = programs.add_parser(
        "digits",
        help=text,
        description=f"{text.capitalize()}: 1,797 images of 8x8 pixels, a fifth held out for the test.\n"
        "Ctrl-C ends the training early and keeps what was trained.",
        epilog="example:\n  tinygrad-edu train digits --epochs 10 --out runs/short",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument("--epochs", type=integer(1), default=60, metavar="N", help="passes over the training data (60)")
    train.add_argument("--batch-size", type=integer(1), default=32, metavar="N", help="rows per step (32)")
    train.add_argument("--learning-rate", type=rate, default=0.003, metavar="X", help="size of a step of Adam (0.003)")
    train.add_argument(
        "--seed", type=integer(0), default=0, metavar="N", help="of initial weights, order and dropout (0)"
    )
    train.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N, or auto (cpu)")
    train.add_argument("--out", metavar="FOLDER", help="where to write (the next free runs/digits-N)")
    train.set_defaults(run=train_digits)


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
                name: getattr(arguments, name) for name in ("epochs", "batch_size", "learning_rate", "seed", "device")
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
        figure = plot_history(history)
    except ImportError:
        return False
    for axes in figure.axes:
        name = axes.get_ylabel()
        axes.set_title(f"{name} on the training data")
        if name == "accuracy":
            text = f"test data, at the end: {test_accuracy:.2%}"
            axes.legend(handles=[axes.axhline(test_accuracy, color="black", linestyle="--", label=text)])
    figure.savefig(path, dpi=120)
    return True
