"""Records what Keras does in the calls of argument_cases.py: hooks and their logs, results, final weights.

pip install tensorflow-cpu keras
python tests/golden/make_arguments.py            # writes arguments.json
python tests/golden/make_arguments.py --check    # compares with it, and fails on a difference
"""

import sys
from pathlib import Path

import keras

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from argument_cases import CASES, close, run
from recording import main

if __name__ == "__main__":
    main(__file__, ".json", {case: run(keras, case) for case in CASES}, close)
