"""Records the learning rates of Keras's schedules in schedule_cases.py.

pip install tensorflow-cpu keras
python tests/golden/make_schedules.py            # writes schedules.json
python tests/golden/make_schedules.py --check    # compares with it, and fails on a difference
"""

import sys
from pathlib import Path

import keras

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from recording import close, main
from schedule_cases import CASES


def rates(name):
    kind, arguments, steps = CASES[name]
    schedule = getattr(keras.optimizers.schedules, kind)(**arguments)
    return [round(float(schedule(step)), 8) for step in range(steps)]


if __name__ == "__main__":
    main(__file__, ".json", {name: rates(name) for name in CASES}, close(1e-5, 1e-7))
