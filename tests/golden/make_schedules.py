"""Records the learning rates of Keras's schedules in schedule_cases.py.

pip install tensorflow-cpu keras
python tests/golden/make_schedules.py            # writes schedules.json
python tests/golden/make_schedules.py --check    # compares with it, and fails on a difference
"""

import json
import sys
from pathlib import Path

import keras
import numpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from schedule_cases import CASES

FILE = Path(__file__).with_name("schedules.json")


def rates(name):
    kind, arguments, steps = CASES[name]
    schedule = getattr(keras.optimizers.schedules, kind)(**arguments)
    return [round(float(schedule(step)), 8) for step in range(steps)]


if __name__ == "__main__":
    found = {name: rates(name) for name in CASES}
    if "--check" not in sys.argv:
        FILE.write_text(json.dumps({"version": keras.__version__, **found}) + "\n")
        print(f"{len(CASES)} schedules of Keras {keras.__version__} in {FILE.name}, {FILE.stat().st_size:,} bytes")
        sys.exit()
    known = json.loads(FILE.read_text())
    wrong = [name for name in CASES if name not in known or not numpy.allclose(found[name], known[name], atol=1e-7)]
    print(f"Keras {keras.__version__}: {len(CASES)} schedules compared with {FILE.name}", *wrong, sep="\n  differs: ")
    sys.exit(1 if wrong else 0)
