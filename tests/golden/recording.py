"""What the scripts beside this one have in common: they write what Keras does into a file, or compare it with that."""

import json
import sys
from pathlib import Path

import keras
import numpy


def close(rtol, atol=0.0):
    """A function that tells whether two things are equal, numbers up to these tolerances, also inside of lists and
    dicts."""

    def same(a, b):
        if isinstance(a, dict):
            return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
        if isinstance(a, (list, tuple)):
            return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(same, a, b))
        a, b = numpy.asarray(a), numpy.asarray(b)
        if a.shape != b.shape or a.dtype.kind not in "fiu" or b.dtype.kind not in "fiu":
            return a.shape == b.shape and bool((a == b).all())
        return numpy.allclose(a, b, rtol, atol)

    return same


def main(script, suffix, found, same):
    """Writes what was found, by names, into "NAME.npz" or "NAME.json" for the script "make_NAME.py"; with the argument
    `--check` compares with that file, and ends the process with 1 if something differs."""
    file = Path(script).with_name(Path(script).stem.removeprefix("make_") + suffix)
    if "--check" not in sys.argv:
        if suffix == ".npz":
            numpy.savez_compressed(file, version=keras.__version__, **found)
        else:
            file.write_text(json.dumps({"version": keras.__version__, **found}) + "\n")
        print(f"{len(found)} records of Keras {keras.__version__} in {file.name}, {file.stat().st_size:,} bytes")
        return
    known = dict(numpy.load(file)) if suffix == ".npz" else json.loads(file.read_text())
    names = (found.keys() | known.keys()) - {"version"}
    wrong = sorted(n for n in names if n not in found or n not in known or not same(found[n], known[n]))
    print(f"Keras {keras.__version__}: {len(found)} records compared with {file.name}", *wrong, sep="\n  differs: ")
    sys.exit(1 if wrong else 0)
