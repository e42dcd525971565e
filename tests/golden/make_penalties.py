"""Records how Keras trains the models of penalty_cases.py: the histories and the final weights.

pip install tensorflow-cpu keras
python tests/golden/make_penalties.py            # writes penalties.json
python tests/golden/make_penalties.py --check    # compares with it, and fails on a difference
"""

import json
import sys
from pathlib import Path

import keras
import numpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from penalty_cases import CASES, train

FILE = Path(__file__).with_name("penalties.json")


def arrays(record):
    """The arrays of a record by name, such as "constrained/history loss"."""
    found = {}
    for case in CASES:
        for name, values in record[case]["history"].items():
            found[f"{case}/history {name}"] = numpy.array(values)
        for i, values in enumerate(record[case]["weights"]):
            found[f"{case}/weight {i}"] = numpy.array(values)
    return found


def check(found, known):
    """Names of arrays that are not as in the file."""
    found, known = arrays(found), arrays(known)
    return sorted(
        name
        for name in found.keys() | known.keys()
        if name not in found or name not in known or not numpy.allclose(found[name], known[name], rtol=1e-4, atol=1e-5)
    )


if __name__ == "__main__":
    record = {"version": keras.__version__, **{case: train(keras, case) for case in CASES}}
    if "--check" not in sys.argv:
        FILE.write_text(json.dumps(record) + "\n")
        print(f"{len(CASES)} trainings of Keras {keras.__version__} in {FILE.name}, {FILE.stat().st_size:,} bytes")
        sys.exit()
    wrong = check(record, json.loads(FILE.read_text()))
    print(f"Keras {keras.__version__}: {len(CASES)} trainings compared with {FILE.name}", *wrong, sep="\n  differs: ")
    sys.exit(1 if wrong else 0)
