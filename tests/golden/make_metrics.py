"""Records what Keras's metrics say of the cases in metric_cases.py, weighted and not.

pip install tensorflow-cpu keras
python tests/golden/make_metrics.py            # writes metrics.npz
python tests/golden/make_metrics.py --check    # compares with it, and fails on a difference
"""

import sys
import warnings
from pathlib import Path

import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from metric_cases import BATCHES, CASES, WEIGHTS
from recording import close, main


def record():
    found = {}
    for name, case in CASES.items():
        for kind in ("plain", "weighted") if case.keras else ():
            metric = case.make(keras.metrics)
            y, p = (None if a is None else np.asarray(a, "float32") for a in (case.y, case.p))
            p = p.reshape(-1) if case.keras == "flat" else p  # its weights are for rows of one number
            for first, last in BATCHES:
                given = [a[first:last] for a in (y, p) if a is not None]
                metric.update_state(*given, sample_weight=WEIGHTS[first:last] if kind == "weighted" else None)
            found[f"{name}/{kind}"] = np.asarray(metric.result())
    return found


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message="You are passing weight as `float`")  # they are whole
    main(__file__, ".npz", record(), close(1e-5, 1e-6))
