"""Records how Keras trains the models of penalty_cases.py: the histories and the final weights.

pip install tensorflow-cpu keras
python tests/golden/make_penalties.py            # writes penalties.json
python tests/golden/make_penalties.py --check    # compares with it, and fails on a difference
"""

import sys
from pathlib import Path

import keras

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from penalty_cases import CASES, train
from recording import close, main

if __name__ == "__main__":
    main(__file__, ".json", {case: train(keras, case) for case in CASES}, close(1e-4, 1e-5))
