"""Entry: a program as a builtin function of Python. A call takes 0.02 us; by ctypes it takes 0.4, and 0.3 more to find
out the address of each array and to put it into its place."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from . import llvm
from .memory import HEAD

Given: TypeAlias = Sequence[Sequence[tuple[int, int]]]
"""For each array of a call the slots of the table in which it is needed, each with the bytes from where the array
begins to what is needed."""


def entry_text(given: Given, slots: int, runs: bool) -> str:
    """Code of `PyObject *enter(PyObject *table, PyObject **arrays, Py_ssize_t count)`: puts the addresses of the arrays
    into their slots and, if it `runs` the program, does so on one thread.

    The table is an array itself, whose last two entries, after `slots`, are the addresses of the table of scalars and
    of `Py_IncRef`. It is also what is returned, for something has to be.
    """
    code = llvm.Code()
    table = _data(code, "%table")
    for i, places in enumerate(given):
        data = _data(code, code.value(f"load ptr, ptr {_element(code, '%arrays', i)}"))
        for slot, offset in places:
            place = code.value(f"getelementptr i8, ptr {data}, i64 {offset}")
            code.add(f"store ptr {place}, ptr {_element(code, table, slot)}")
    scalars, keep = (code.value(f"load ptr, ptr {_element(code, table, slots + i)}") for i in range(2))
    if runs:
        code.add(f"call void @program(i64 0, i64 1, ptr {table}, ptr {scalars}, ptr null) noinline")
    code.add(f"call void {keep}(ptr %table)")
    head = "define ptr @enter(ptr %table, ptr %arrays, i64 %count) {"
    return "\n".join([head, *code.lines, "  ret ptr %table", "}", ""])


def _data(code: llvm.Code, array: str) -> str:
    """Where the first element of an ndarray is."""
    return code.value(f"load ptr, ptr {code.value(f'getelementptr i8, ptr {array}, i64 {HEAD}')}")


def _element(code: llvm.Code, table: str, number: int) -> str:
    return code.value(f"getelementptr ptr, ptr {table}, i64 {number}")


INCREF = ctypes.cast(ctypes.pythonapi.Py_IncRef, ctypes.c_void_p).value or 0


class _Definition(ctypes.Structure):
    """Python's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_FASTCALL = 0x80  # METH_FASTCALL: the arguments come as a C array
_types = ctypes.POINTER(_Definition), ctypes.py_object, ctypes.py_object
_new = ctypes.PYFUNCTYPE(ctypes.py_object, *_types)(("PyCFunction_NewEx", ctypes.pythonapi))


def builtin(address: int, table: Any, *owners: Any) -> Callable[..., Any]:
    """The machine code of `entry_text` at that address as a function of Python, which holds its owners."""
    definition = _Definition(b"program", address, _FASTCALL, None)
    made: Callable[..., Any] = _new(definition, table, (definition, *owners))
    return made
