"""Records how Keras trains the model of optimizer_options.py: the weights after each call of `fit`.

pip install tensorflow-cpu keras
python tests/golden/make_optimizer_options.py            # writes optimizer_options.json
python tests/golden/make_optimizer_options.py --check    # compares with it, and fails on a difference
"""

import json
import sys
from pathlib import Path

import keras
import numpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from optimizer_options import CASES, train

FILE = Path(__file__).with_name("optimizer_options.json")


def flat(fits):
    return numpy.concatenate([numpy.ravel(w) for weights in fits for w in weights])


if __name__ == "__main__":
    record = {"version": keras.__version__, **{case: train(keras, case) for case in CASES}}
    if "--check" not in sys.argv:
        FILE.write_text(json.dumps(record) + "\n")
        print(f"{len(CASES)} trainings of Keras {keras.__version__} in {FILE.name}, {FILE.stat().st_size:,} bytes")
        sys.exit()
    known = json.loads(FILE.read_text())
    wrong = [
        case
        for case in CASES
        if case not in known or not numpy.allclose(flat(record[case]), flat(known[case]), rtol=1e-4, atol=1e-5)
    ]
    print(f"Keras {keras.__version__}: {len(CASES)} trainings compared with {FILE.name}", *wrong, sep="\n  differs: ")
    sys.exit(1 if wrong else 0)
