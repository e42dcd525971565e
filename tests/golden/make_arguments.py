"""Records what Keras does in the calls of argument_cases.py: hooks and their logs, results, final weights.

pip install tensorflow-cpu keras
python tests/golden/make_arguments.py            # writes arguments.json
python tests/golden/make_arguments.py --check    # compares with it, and fails on a difference
"""

import json
import sys
from pathlib import Path

import keras

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from argument_cases import CASES, close, run

FILE = Path(__file__).with_name("arguments.json")

if __name__ == "__main__":
    record = {"version": keras.__version__, **{case: run(keras, case) for case in CASES}}
    if "--check" not in sys.argv:
        FILE.write_text(json.dumps(record) + "\n")
        print(f"{len(CASES)} calls of Keras {keras.__version__} in {FILE.name}, {FILE.stat().st_size:,} bytes")
        sys.exit()
    known = json.loads(FILE.read_text())
    wrong = [case for case in CASES if not close(record[case], known.get(case))]
    print(f"Keras {keras.__version__}: {len(CASES)} calls compared with {FILE.name}", *wrong, sep="\n  differs: ")
    sys.exit(1 if wrong else 0)
