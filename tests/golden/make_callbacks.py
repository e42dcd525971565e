"""Records what Keras's callbacks decide in the cases of callback_cases.py.

pip install tensorflow-cpu keras
python tests/golden/make_callbacks.py            # writes callbacks.json
python tests/golden/make_callbacks.py --check    # compares with it, and fails on a difference
"""

import contextlib
import inspect
import json
import sys
import tempfile
from pathlib import Path

import keras

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from callback_cases import BOARDS, board, decisions
from recording import close, main


class Summary:
    """Stands for `tensorflow.summary`, which needs the package tensorboard, and keeps names and steps by folder."""

    def __init__(self):
        self.found, self.current = {}, [{"folder": None, "step": None, "condition": lambda: True}]

    def create_file_writer(self, folder):
        return Writer(self, Path(folder).name)

    @contextlib.contextmanager
    def inside(self, **changes):
        self.current.append(self.current[-1] | changes)
        yield
        self.current.pop()

    def record_if(self, condition):
        return self.inside(condition=condition)

    def keep(self, name, value, step=None):
        now = self.current[-1]
        if now["folder"] is not None and now["condition"]():
            step = int(now["step"] if step is None else step)
            self.found.setdefault(now["folder"], {}).setdefault(name, []).append(step)

    scalar = histogram = keep


class Writer:
    def __init__(self, summary, folder):
        self.summary, self.folder = summary, folder

    def as_default(self, step=None):
        return self.summary.inside(folder=self.folder, step=step)

    def flush(self):
        pass

    close = flush


def boards():
    """For each case and folder of events the names and their steps."""
    found = {}
    for case, options in BOARDS.items():
        summary = Summary()
        callback = keras.callbacks.TensorBoard("logs", write_graph=False, **options)
        callback._summary_module = summary
        board(keras, callback)
        found[case] = summary.found
    return found


CALLBACKS = (
    "BackupAndRestore", "CSVLogger", "EarlyStopping", "LambdaCallback", "LearningRateScheduler", "ModelCheckpoint",
    "ReduceLROnPlateau", "SwapEMAWeights", "TensorBoard",
)  # fmt: skip


def arguments(name):
    """The arguments of a callback and their defaults, None where there is none."""
    parameters = inspect.signature(getattr(keras.callbacks, name)).parameters.values()
    return [[p.name, None if p.default is p.empty else p.default] for p in parameters if p.kind is not p.VAR_KEYWORD]


def record():
    with tempfile.TemporaryDirectory() as folder:
        found = decisions(keras.callbacks, folder, (".keras", ".weights.h5"))
    found |= {"boards": boards(), "arguments": {name: arguments(name) for name in CALLBACKS}}
    # NaN is no JSON, and no decision is NaN
    return json.loads(json.dumps(found, allow_nan=False))


if __name__ == "__main__":
    main(__file__, ".json", record(), close(0.0))
