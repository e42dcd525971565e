"""`tinygrad-edu check`: every operation of the table, forward and gradients, on the user's own machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy

from .autograd import GradcheckError, Tensor, gradcheck
from .backend import Device, to_device, to_host, use_device
from .backend import device as device_named
from .errors import DeviceError, message
from .optable import TABLE, Row
from .state import use_dtype

HEADINGS = ("operation", "samples", "forward error", "gradient error", "second order", "verdict")
RTOL, ATOL = 1e-7, 1e-8


@dataclass
class Finding:
    """What the check of one operation found: the largest errors over its samples, None where there is no gradient."""

    name: str
    samples: int
    forward: float = 0.0
    gradient: float | None = None
    second: float | None = None
    faults: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        errors = ("-" if error is None else f"{error:.1e}" for error in (self.forward, self.gradient, self.second))
        return (self.name, str(self.samples), *errors, "WRONG" if self.faults else "ok")


def run_check(device: str = "cpu", op: str | None = None) -> int:
    """Prints the table of all operations, or of `op` alone. Returns 0 if all are right, 1 if not, 2 if it cannot start.

    Forward results are compared with NumPy's and SciPy's in float64 (the error is relative to the largest magnitude),
    gradients of first and second order with finite differences.
    """
    try:
        target = device_named(device)
        rows = _rows(op)
    except (ValueError, DeviceError) as error:
        print(f"tinygrad-edu: error: {error}", file=sys.stderr)
        return 2
    start = time.perf_counter()
    with use_device(target), use_dtype("float64"):
        findings = _show(check_row(row, target) for row in rows)
    wrong = [finding for finding in findings if finding.faults]
    for finding in wrong:
        print(f"\n{finding.name}:", *finding.faults, sep="\n  ")
    samples, seconds = sum(finding.samples for finding in findings), time.perf_counter() - start
    verdict = f"{len(wrong)} WRONG" if wrong else "all right"
    version = f"{target.xp.__name__} {target.xp.__version__}"
    count = f"{len(findings)} operation{'s' * (len(findings) != 1)}"
    print(f"\n{count}, {samples} samples on {target} ({version}): {verdict} ({seconds:.1f} s)")
    return 1 if wrong else 0


def _rows(op: str | None) -> list[Row]:
    if op is None:
        return list(TABLE.values())
    if op not in TABLE:
        near = get_close_matches(op, TABLE, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "without --op it checks them all."
        raise ValueError(message("check", "--op to be the name of an operation", repr(op), hint))
    return [TABLE[op]]


def check_row(row: Row, target: Device) -> Finding:
    """Tries every sample of an operation on a device."""
    finding = Finding(row.name, len(row.samples))
    for number, sample in enumerate(row.samples):
        arguments = ", ".join([*map(str, sample.args), *(f"{name}={value}" for name, value in sample.keywords.items())])
        try:
            _try_sample(row, number, target, finding)
        except GradcheckError as error:
            finding.faults.append(f"{row.name}({arguments}): {error}")
        except Exception as error:  # whatever goes wrong belongs into the table
            finding.faults.append(f"{row.name}({arguments}): {type(error).__name__}: {error}")
    return finding


def _try_sample(row: Row, number: int, target: Device, finding: Finding) -> None:
    arrays = row.arrays(number)
    moved = [Tensor(a) for a in row.arrays(number, move=lambda a: to_device(a, target))]
    found, expected = row.call(number, moved), row.expected(number, arrays)
    for y, reference in zip(_several(found), _several(expected), strict=True):
        error = difference(to_host(y.data), numpy.asarray(reference))
        finding.forward = max(finding.forward, error)
        limit = 4.0 * row.slack * (float(numpy.finfo(y.dtype).eps) if y.dtype.kind == "f" else 0.0)
        if not error <= limit:
            raise ValueError(f"off by {error:.3g} from NumPy, at most {limit:.3g} is allowed")
    order = row.sample_order(number)
    if order >= 1:
        error = gradcheck(lambda *xs: row.call(number, xs), moved, order=1, rtol=RTOL, atol=ATOL)
        finding.gradient = max(finding.gradient or 0.0, error)
    if order >= 2:
        error = gradcheck(lambda *xs: row.call(number, xs), moved, order=2, rtol=RTOL, atol=ATOL)
        finding.second = max(finding.second or 0.0, error)


def _several(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def difference(found: Any, expected: Any) -> float:
    """The largest difference, relative to the largest magnitude (at least 1); infinite for another shape or a NaN."""
    if found.shape != expected.shape:
        return numpy.inf
    wide, expected = found.astype("float64"), expected.astype("float64")
    finite = numpy.isfinite(expected)
    if not numpy.array_equal(wide[~finite], expected[~finite], equal_nan=True):
        return numpy.inf
    if not finite.any():
        return 0.0
    error = numpy.abs(wide[finite] - expected[finite]).max() / max(1.0, numpy.abs(expected[finite]).max())
    return numpy.inf if numpy.isnan(error) else float(error)


def _show(findings: Iterator[Finding]) -> list[Finding]:
    """Prints a row each: a table on a terminal, plain lines elsewhere."""
    return _show_table(findings) if sys.stdout.isatty() else _show_lines(findings)


def _show_lines(findings: Iterable[Finding]) -> list[Finding]:
    shown = []
    _print_line(HEADINGS)
    for finding in findings:
        _print_line(finding.cells())
        shown.append(finding)
    return shown


def _print_line(cells: Iterable[str]) -> None:
    name, *others = cells
    print(f"{name:<33}" + "".join(f"{cell:>15}" for cell in others), flush=True)


def _show_table(findings: Iterable[Finding]) -> list[Finding]:
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    console = Console()
    shown = list(track(findings, "checking", console=console, transient=True))
    table = Table(header_style="bold", row_styles=["", "dim"])
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("operation", "verdict") else "right")
    for finding in shown:
        table.add_row(*finding.cells()[:-1], "[bold red]WRONG[/]" if finding.faults else "[green]ok[/]")
    console.print(table)
    return shown
