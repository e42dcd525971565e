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

FILE = Path(__file__).with_name("metrics.npz")


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
    found = record()
    if "--check" not in sys.argv:
        np.savez_compressed(FILE, version=keras.__version__, **found)
        print(f"{len(found)} results of Keras {keras.__version__} in {FILE.name}, {FILE.stat().st_size:,} bytes")
        sys.exit()
    known = {name: value for name, value in np.load(FILE).items() if name != "version"}
    wrong = sorted(
        name
        for name in found.keys() | known.keys()
        if name not in found or name not in known or not np.allclose(found[name], known[name], rtol=1e-5, atol=1e-6)
    )
    print(f"Keras {keras.__version__}: {len(found)} results compared with {FILE.name}", *wrong, sep="\n  differs: ")
    sys.exit(1 if wrong else 0)
