"""The training rows of the benchmarks: who counts, which rounds, and what is computed. No test depends on the clock."""

import importlib
import json
import math
import os
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import cli

ROOT = Path(__file__).parents[1]
PHASES = ("forward", "gradient", "step", "predict", "predict_one")


@pytest.fixture
def benchmarks(monkeypatch):
    """Imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(str(ROOT))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


class FakeSession:
    """Workers without processes, and a calibration that takes as long as the test says."""

    threads, limit, quick, turn, best, device, precision = 2, 1.0, False, 0.0, 1.0, "cpu", "float32"

    def __init__(self, faults=None, calibrations=()):
        self.faults = faults or {}
        self.calibrations = list(calibrations)
        self.log = []

    def worker(self, name, row, caches):
        return FakeWorker(name, self)

    def calibrate(self):
        self.log.append("calibration")
        return self.calibrations.pop(0) if self.calibrations else 1.0

    def rest(self):
        pass


class FakeWorker:
    """Every loss is 0.5 and every round takes a second, but for the faults of the session."""

    def __init__(self, name, session):
        self.name, self.session, self.closed = name, session, False

    def ask(self, what, **arguments):
        fault = self.session.faults.get((self.name, what))
        if fault is not None:
            answer = fault(arguments)
            if answer is not None:
                return answer
        if what == "run":
            self.session.log.append((arguments["phase"], self.name))
        return {
            "hello": {"import": 0.1, "version": "1", "phases": list(PHASES)},
            "build": {"threads": None},
            "first": {"seconds": 1.0, "loss": 0.5, "threads": 2},
            "losses": {"losses": [0.5] * (arguments.get("stop", 0) - arguments.get("start", 0))},
            "tune": {"times": 4},
            "run": {"seconds": 1.0, "cpu": 2.0},
            "peak": {"bytes": 100},
            "outputs": {"outputs": [0.5, -2.0]},
            "resident": {"bytes": 200},
        }[what]

    def close(self):
        self.closed = True


def run(benchmarks, session, names=("eager", "torch", "jax"), row="xor"):
    network = benchmarks(f"rows.{row}").NETWORK
    return benchmarks("training").run(row, network, names, session)


def losses(step, value):
    """A fault: the loss of that step, the first being 0, has that value."""
    return lambda arguments: {
        "losses": [value if i == step else 0.5 for i in range(arguments["start"], arguments["stop"])]
    }


def raises(benchmarks, reason, absent=False):
    def fault(arguments):
        raise benchmarks("session").Failure(reason, absent)

    return fault


# Agreement


@pytest.mark.parametrize(
    ("value", "agrees"),
    [(0.5, True), (0.50049, True), (0.49951, True), (0.5006, False), (math.nan, False), (-0.5, False)],
)
def test_a_framework_counts_only_if_its_losses_are_those_of_pytorch(benchmarks, value, agrees):
    record = run(benchmarks, FakeSession({("jax", "losses"): losses(7, value)}))
    assert ("jax" in record["frameworks"]) == agrees
    if not agrees:
        assert record["skipped"]["jax"] == f"wrong: the loss of step 7 is {value:.6g}, PyTorch's 0.5"
        assert all("jax" not in found["seconds"] for found in record["rounds"]["step"])
    assert record["wrong"] == []  # which is for our own faults
    assert {"eager", "torch"} <= set(record["frameworks"])


def test_the_first_and_the_last_loss_are_compared_too(benchmarks):
    first = {"seconds": 1.0, "loss": 0.6, "threads": 2}
    assert "step 0" in run(benchmarks, FakeSession({("jax", "first"): lambda _: first}))["skipped"]["jax"]
    assert "step 1 " in run(benchmarks, FakeSession({("jax", "losses"): losses(1, 0.6)}))["skipped"]["jax"]
    assert "step 19" in run(benchmarks, FakeSession({("jax", "losses"): losses(19, 0.6)}))["skipped"]["jax"]


@pytest.mark.parametrize("absent", [True, False])
def test_our_own_faults_are_wrong_results_unless_a_column_is_absent(benchmarks, absent):
    record = run(benchmarks, FakeSession({("eager", "first"): raises(benchmarks, "no jit", absent)}))
    assert record["skipped"] == {"eager": "no jit"}
    assert record["wrong"] == ([] if absent else ["eager"])


def test_without_pytorch_nothing_counts(benchmarks):
    record = run(benchmarks, FakeSession({("torch", "hello"): raises(benchmarks, "No module named 'torch'", True)}))
    why = "no losses of PyTorch to agree with: No module named 'torch'"
    assert record["skipped"] == {"torch": "No module named 'torch'", "eager": why, "jax": why}
    assert record["wrong"] == []
    assert record["rounds"] == {phase: [] for phase in PHASES}


def test_pytorch_is_asked_for_its_losses_even_if_it_is_not_measured(benchmarks):
    session = FakeSession({("jax", "losses"): losses(7, 0.6)})
    record = run(benchmarks, session, names=("eager", "jax"))
    assert set(record["frameworks"]) == {"eager", "sgemm"}
    assert ("step", "torch") not in session.log


def test_a_framework_with_other_threads_is_skipped(benchmarks):
    first = {"seconds": 1.0, "loss": 0.5, "threads": 3}
    record = run(benchmarks, FakeSession({("jax", "first"): lambda _: first}))
    assert record["skipped"] == {"jax": "uses 3 threads, not 2"}


# Rounds


def test_frameworks_take_turns_after_a_calibration(benchmarks):
    session = FakeSession()
    record = run(benchmarks, session, names=("eager", "torch"))
    rounds = "".join("|" if entry == "calibration" else entry[1][0] for entry in session.log)
    assert rounds.startswith("|" + "tes|" * 5 + "est|" * 5 + "ste|" * 5 + "tes|")
    assert {phase: len(found) for phase, found in record["rounds"].items()} == dict.fromkeys(record["rounds"], 18)
    assert record["frameworks"]["torch"]["resident bytes"] == 200
    assert record["frameworks"]["torch"]["peak bytes"] == 100


def test_rounds_with_a_slow_calibration_are_dropped_and_counted(benchmarks):
    slow_first = [1.31, 1.3, 1.3, 1.3, 1.3]  # of each phase, forward being the first
    record = run(benchmarks, FakeSession(calibrations=slow_first))
    assert benchmarks("figures").quiet_rounds(record, 1.0) == dict.fromkeys(PHASES, (18, 18)) | {"forward": (18, 19)}
    assert record["rounds"]["forward"][0]["seconds"]  # raw times are kept all the same
    assert 0 not in benchmarks("figures").times(record, 1.0, "forward", "jax")
    assert benchmarks("figures").quiet_rounds(record, 0.5)["step"] == (0, 18)  # the best was found out later


def test_a_machine_that_is_never_quiet_ends_the_run(benchmarks):
    record = run(benchmarks, FakeSession(calibrations=[2.0] * 1000))
    assert benchmarks("figures").quiet_rounds(record, 1.0)["step"] == (0, 60)
    assert "(too few)" in benchmarks("report").rows_table([record], 1.0).text()


@pytest.mark.parametrize("what", ["run", "resident", "tune", "peak"])
def test_a_framework_that_fails_on_the_way_is_named_and_the_others_go_on(benchmarks, what):
    record = run(benchmarks, FakeSession({("jax", what): raises(benchmarks, f"crashed in '{what}'")}))
    assert record["skipped"] == {"jax": f"crashed in '{what}'"}
    assert set(record["frameworks"]) == {"eager", "torch", "sgemm"}
    assert len(record["rounds"]["step"]) == 18


# Figures


@pytest.mark.parametrize(
    ("count", "ranks"),  # the table of the sign test: 96.9 %, 99.2 %, 97.9 %, 96.5 %, 95.9 %
    [(5, None), (6, (1, 6)), (8, (1, 8)), (10, (2, 9)), (15, (4, 12)), (20, (6, 15))],
)
def test_interval_of_a_median(benchmarks, count, ranks):
    values = list(np.random.default_rng(0).permutation(np.arange(1.0, count + 1.0)))
    assert benchmarks("figures").interval(values) == ranks


def record_of(benchmarks, seconds):
    """A record of 15 quiet rounds of 10 steps, in which a framework takes these seconds per step, by phase."""
    network = benchmarks("rows.mnist").NETWORK
    found = {
        "row": "mnist",
        "network": str(network),
        "operations": {phase: network.operations(phase) for phase in network.phases},
        "steps": dict.fromkeys(network.phases, 2),
        "frameworks": {
            name: {
                "version": "1.0",
                "phases": list(phases),
                "iterations": dict.fromkeys(phases, 5),
                "threads": 2,
                "imports": [0.1, 0.2, 0.4],
                "first cold": 2.0,
                "first warm": 1.0,
                "peak bytes": 2**20,
                "resident bytes": None,
            }
            for name, phases in seconds.items()
        },
        "skipped": {"keras": "No module named 'keras'"},
        "rounds": {
            phase: [
                {
                    "calibration": 1.0,
                    "seconds": {n: 10 * (1 + i / 100) * s[phase] for n, s in seconds.items() if phase in s},
                    "cpu": {n: 15 * (1 + i / 100) * s[phase] for n, s in seconds.items() if phase in s},
                }
                for i in range(15)
            ]
            for phase in network.phases
        },
        "rounds wanted": 15,
        "tolerance": 1e-3,
        "too slow": 1.3,
    }
    return found


SECONDS = {
    "eager": {"forward": 2.0, "gradient": 7.0, "step": 8.0, "predict": 1.0, "predict_one": 0.5},
    "torch": {"forward": 1.0, "gradient": 3.0, "step": 4.0, "predict": 2.0, "predict_one": 0.25},
    "keras": {"forward": 4.0, "step": 10.0, "predict": 1.0, "predict_one": 1.0},
    "sgemm": {"forward": 1.0, "gradient": 3.0, "step": 3.0, "predict": 1.0, "predict_one": 1.0},
}


def test_figures(benchmarks):
    figures, record = benchmarks("figures"), record_of(benchmarks, SECONDS)
    assert figures.median(figures.times(record, 1.0, "step", "eager")) == pytest.approx(8.0 * 1.07)
    assert figures.ratios(record, 1.0, "step", "eager", "torch") == pytest.approx([2.0] * 15)
    assert figures.share(record, 1.0, "forward", "eager") == pytest.approx(0.5)
    assert figures.share(record, 1.0, "backward", "eager") == pytest.approx((3 - 1) / (7 - 2))
    assert figures.share(record, 1.0, "step", "eager") == pytest.approx(3 / 8)
    assert figures.share(record, 1.0, "backward", "keras") is None
    assert figures.cores_busy(record, "step", "eager") == pytest.approx(1.5)
    forward = 2 * 128 * (784 * 512 + 512 * 256 + 256 * 10)
    assert figures.gflops(record, 1.0, "forward", "torch") == pytest.approx(forward / 1.07 / 1e9)
    summary = figures.summary(record, 1.0)
    assert summary["ratios"]["step"]["eager / torch"] == [pytest.approx(2.0), pytest.approx((2.0, 2.0))]
    assert "eager / keras" not in summary["ratios"]["gradient"]
    json.dumps(summary)


def test_tables(benchmarks):
    report, record = benchmarks("report"), record_of(benchmarks, SECONDS)
    frameworks = report.frameworks([record], lambda name: 2**21)
    tables = {table.title: table for table in report.tables([record], 1.0, frameworks)}
    assert tables["rows"].lines == [["mnist", "784-512-256-10, batch 128", ", ".join(["15 of 15"] * 5)]]
    assert tables["skipped"].lines == [["keras", "mnist", "No module named 'keras'"]]
    assert tables["time, step"].columns == ["row", "eager", "torch", "keras"]
    assert tables["time, step"].lines == [["mnist", *(pytest.approx(s * 1.07e6) for s in (8, 4, 10))]]
    assert tables["ratio, step, eager"].lines == [["mnist", "2.00 [2.00, 2.00]", "0.80 [0.80, 0.80]"]]
    assert tables["ratio, predict_one, eager"].lines == [["mnist", "2.00 [2.00, 2.00]", "0.50 [0.50, 0.50]"]]
    assert tables["ratio, gradient, eager"].lines == [["mnist", "2.33 [2.33, 2.33]", None]]
    assert tables["share of sgemm"].lines[0][2:] == ["50% / 40% / 38%", "100% / 100% / 75%", "25% / - / 30%"]
    assert tables["tensor memory"].lines == [["mnist", 1.0, 1.0, 1.0]]
    assert tables["resident memory"].lines == [["mnist", None, None, None]]
    assert tables["first call"].lines == [["mnist", *["2.00 / 1.00"] * 3]]
    assert tables["frameworks"].lines[0] == ["eager", "1.0", pytest.approx(200.0), 2.0, 2, pytest.approx(1.5)]
    assert all(table.text() for table in tables.values())


@pytest.mark.parametrize("scaling", [[], [("a, batch", 4, 1.0), ("a, batch", 8, 2.0), ("a, depth", 1, 1.0)]])
def test_chart(benchmarks, tmp_path, scaling):
    pytest.importorskip("matplotlib")
    record = record_of(benchmarks, SECONDS)
    frameworks = benchmarks("report").frameworks([record], lambda name: None)
    training = {"best calibration": 1.0, "frameworks": frameworks, "rows": [record]}
    machine = {"device": "a machine", "threads": "2", "date": "today"}
    lines = [dict(zip(("what", "size", "ms"), line, strict=True)) for line in scaling]
    tables = [{"title": "scaling", "lines": lines}]
    found = {"machine": machine, "tables": tables}
    for some in (found | {"training": training}, found) if scaling else (found | {"training": training},):
        (tmp_path / "chart.png").unlink(missing_ok=True)
        benchmarks("chart").draw(some, tmp_path / "chart.png")
        assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


# Workers

ECHO = "import sys\nfor line in sys.stdin: print(line.strip(), flush=True)"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "import sys; print('line', file=sys.stderr); sys.exit('out of luck')",
            "crashed in 'run' with status 1: out of luck",
        ),
        ("input(); import os; os._exit(3)", "crashed in 'run' with status 3"),
        ("import time; time.sleep(1000)", "no answer to 'run' within 0.5 s"),
        ('input(); print(\'{"error": "No module named jax", "absent": true}\')', "No module named jax"),
    ],
)
def test_a_worker_that_does_not_answer_is_named_and_gone(benchmarks, script, reason):
    session = benchmarks("session")
    worker = session.Worker([sys.executable, "-c", script], os.environ, 0.5 if "sleep" in script else 60.0)
    with pytest.raises(session.Failure) as caught:
        worker.ask("run", phase="step", times=1)
    assert str(caught.value) == reason
    assert caught.value.absent == ("absent" in script or "sleep" in script)
    assert worker.process.poll() is not None
    worker.close()  # once more is fine


def test_a_worker_answers_and_ends(benchmarks):
    worker = benchmarks("session").Worker([sys.executable, "-c", ECHO], os.environ, 60.0)
    assert worker.ask("run", times=2) == {"do": "run", "times": 2}
    assert worker.process.poll() is None
    worker.close()
    assert worker.process.poll() is not None


def test_what_a_worker_is_started_with(benchmarks, monkeypatch):
    session = benchmarks("session")
    monkeypatch.setattr(session, "Worker", lambda *arguments: arguments)
    found = session.Session(threads=1, limit=5.0, quick=True)
    command, environment, limit = found.worker("jit-numpy", "xor", "caches")
    assert command[1:] == ["-m", "benchmarks.worker", "jit-numpy", "xor", "1", "cpu", "float32", "--quick"]
    assert limit == 5.0
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUM_CPU_THREADS", "NPROC"):
        assert environment[variable] == "1"
    assert environment["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=false"
    assert environment["TINYGRAD_EDU_CACHE"].startswith("caches")
    assert environment["TINYGRAD_EDU_FAST"] == "0"
    assert "TINYGRAD_EDU_FAST" not in found.worker("jit", "xor", "caches")[1]


def answers_of(benchmarks, name, row):
    entry = benchmarks("peers").ENTRIES[name]
    return benchmarks("worker").Answers(entry, row, quick=True, device="cpu", precision="float32")


@pytest.mark.parametrize("row", ["xor", "perceptron"])
def test_a_worker_measures_our_framework(benchmarks, row):
    answers = answers_of(benchmarks, "eager", row)
    assert answers.hello["phases"] == list(answers.network.phases)
    first = answers.first()
    assert 0.1 < first["loss"] < 2.0
    later = answers.losses(1, 20)["losses"]
    assert len(later) == 19
    assert row != "xor" or later[-1] < first["loss"]  # the other has another batch each time
    for phase in answers.network.phases:
        assert answers.tune(phase, seconds=0.0)["times"] >= 1
        assert set(answers.run(phase, times=11)) == {"seconds", "cpu"}
    assert answers.resident()["bytes"] is None or answers.resident()["bytes"] > 2**20
    assert answers.peak()["bytes"] > 0


def test_phases_that_a_framework_does_not_have(benchmarks, monkeypatch):
    monkeypatch.setattr(benchmarks("peers.ours").Eager, "phases", ("forward", "step", "fit"))
    answers = answers_of(benchmarks, "eager", "xor")
    assert answers.hello["phases"] == ["forward", "step"]


def test_a_module_that_is_missing_makes_a_framework_absent(benchmarks):
    worker = benchmarks("worker")
    with pytest.raises(ModuleNotFoundError) as caught:
        worker.Answers(benchmarks("peers").Entry("ours", "Eager", "no_such_module"), "xor", True, "cpu", "float32")
    assert isinstance(caught.value, worker.ABSENT)
    assert worker.reason(caught.value) == "No module named 'no_such_module'"
    assert worker.reason(ValueError("a\nb")) == "ValueError: a"


# Rows

DENSE = {
    "perceptron": "2-1, batch 32, fit",
    "deep": "20-128-64-32-16-1, batch 32, fit",
    "xor": "2-8-1, batch 4",
    "mnist": "784-512-256-10, batch 128",
    "wide": "1024-1024-1024-1024-1024, batch 256",
    "big": "4096-4096-4096, batch 512",
    "autoencoder": "784-256-32-256-784, batch 128",
}
OTHERS = ["lenet", "resnet", "denoising", "lstm", "gru", "gpt", "recommender", "translation"]


@pytest.mark.parametrize("row", [*DENSE, *OTHERS])
def test_networks(benchmarks, row):
    network = benchmarks(f"rows.{row}").NETWORK
    assert str(network) == DENSE.get(row, str(network))
    small = network.quick()
    x, y = small.rows()
    output = small.nodes[-1].shape
    assert x.shape == (small.batch * small.batches, *small.nodes[0].shape)
    assert y.shape == (len(x), *(output[:-1] if network.loss == "classes" else output))
    assert y.dtype == ("int64" if network.loss == "classes" else "float32")
    for weights, again, node in zip(small.weights(), small.weights(), small.nodes, strict=True):
        assert {name: array.shape for name, array in weights.items()} == node.weights
        assert all(array.dtype == "float32" and (array == again[name]).all() for name, array in weights.items())
    assert max(size for node in small.nodes for shape in node.weights.values() for size in shape) <= 4 * 16 * 16
    if network.loss == "binary":
        assert 0.0 <= y.min() < y.max() <= 1.0


@pytest.mark.parametrize("peer", ["torch", "torch-channels-last", "jax", "keras"])
@pytest.mark.parametrize("row", OTHERS)
def test_every_framework_builds_the_same_network(benchmarks, row, peer):
    """Its outputs by first weights, and its first losses."""
    entry = benchmarks("peers").ENTRIES[peer]
    pytest.importorskip(entry.module)
    pytest.importorskip("torch")
    network = benchmarks(f"rows.{row}").NETWORK.quick()
    try:
        theirs = getattr(benchmarks(f"peers.{entry.file}"), entry.kind)(network)
    except benchmarks("peers").Absent:
        pytest.skip("there are no images")
    ours = benchmarks("peers.ours").Eager(network)
    np.testing.assert_allclose(ours.predict(), theirs.predict(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.predict_one(), theirs.predict_one(), rtol=1e-4, atol=1e-4)
    for _ in range(3):
        assert ours.value(ours.step()) == pytest.approx(theirs.value(theirs.step()), rel=1e-4)


@pytest.mark.parametrize("row", [*OTHERS, "xor", "mnist"])
def test_onnx_runtime_has_the_same_outputs(benchmarks, row):
    """It does not train."""
    for module in ("onnx", "onnxruntime"):
        pytest.importorskip(module)
    network = benchmarks(f"rows.{row}").NETWORK.quick()
    theirs, ours = benchmarks("peers.onnx_runtime").OnnxRuntime(network), benchmarks("peers.ours").Eager(network)
    np.testing.assert_allclose(ours.predict(), theirs.predict(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.predict_one(), theirs.predict_one(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("output", "counts"), [(0.5, True), (0.503, False)])
def test_a_framework_without_training(benchmarks, output, counts):
    """It is asked for no losses and takes part in what it has, if its outputs are PyTorch's."""

    def fails(arguments):
        raise AssertionError("it does not train")

    hello = {"import": 0.1, "version": "1", "phases": ["predict", "predict_one"]}
    faults = {("onnxruntime", what): fails for what in ("first", "losses", "peak")}
    faults |= {("onnxruntime", "hello"): lambda _: hello, ("onnxruntime", "build"): lambda _: {"threads": 2}}
    faults |= {("onnxruntime", "outputs"): lambda _: {"outputs": [output, -2.0]}}
    record = run(benchmarks, FakeSession(faults), names=("jit", "torch", "onnxruntime"))
    assert ("onnxruntime" in record["frameworks"]) == counts
    for phase, rounds in record["rounds"].items():
        there = {"onnxruntime" in found["seconds"] for found in rounds}
        assert there == {counts and phase in ("predict", "predict_one")}
    report = benchmarks("report")
    tables = report.tables([record], 1.0, report.frameworks([record], lambda name: None))
    lines = {table.title: dict(zip(table.columns, table.lines[0], strict=True)) for table in tables}
    assert lines["ratio, step, jit"].get("onnxruntime") is None
    assert (lines["ratio, predict, jit"].get("onnxruntime") is not None) == counts
    assert lines["first call"].get("onnxruntime") is None


def test_a_framework_with_other_outputs_does_not_count(benchmarks):
    session = FakeSession({("jax", "outputs"): lambda _: {"outputs": [0.503, -2.0]}})  # off by 0.15 % of the largest
    record = run(benchmarks, session)
    assert record["skipped"] == {"jax": "wrong: an output is 0.503, PyTorch's 0.5"}
    session = FakeSession({("jax", "outputs"): lambda _: {"outputs": [0.501, -2.0]}})
    assert "jax" in run(benchmarks, session)["frameworks"]


def test_products_of_a_network(benchmarks):
    network = benchmarks("network").dense_network((3, 5, 2), batch=7, loss="squares")
    assert network.products("forward") == [(7, 3, 5), (7, 5, 2)]
    assert network.products("gradient")[2:] == [(3, 7, 5), (5, 7, 2), (7, 2, 5)]
    assert network.products("predict_one") == [(1, 3, 5), (1, 5, 2)]
    assert network.operations("forward") == 2 * 7 * (15 + 10)
    assert network.operations("step") == 2 * 7 * (2 * 15 + 3 * 10)


def test_products_of_other_layers(benchmarks):
    nodes, network = benchmarks("nodes"), benchmarks("network").Network
    image = network((6, 6, 2), lambda x: nodes.conv(x, 4, stride=2), 5, "squares", "")
    assert image.products("forward") == [(5 * 3 * 3, 3 * 3 * 2, 4)]
    assert image.products("gradient")[1:] == [(18, 45, 4)]  # the image needs no gradient
    sequence = network((3, 2), lambda x: nodes.lstm(x, 4), 5, "squares", "")
    assert sequence.products("forward") == [(15, 2, 16)] + [(5, 4, 16)] * 3
    assert len(sequence.products("gradient")) == 4 + 1 + 3 * 2
    heads = network((3, 8), lambda x: nodes.causal_attention(x, heads=2), 5, "squares", "")
    assert heads.products("forward") == [(15, 8, 8)] * 4 + [(3, 4, 3), (3, 3, 4)] * 10


# Installed sizes


def test_installed_size(benchmarks):
    sizes, entry = benchmarks("sizes"), benchmarks("peers").Entry
    numpy_alone = sizes.size_of("numpy")
    assert numpy_alone > 10 * 2**20
    assert numpy_alone == sizes.installed_bytes(entry("", "", "numpy", "numpy"))
    ours = benchmarks("peers").ENTRIES["eager"]
    assert sizes.installed_bytes(ours) > numpy_alone + sum(sizes.size_of(name) for name in ("scipy", "rich"))
    assert "markdown-it-py" in sizes.closure(["rich"])  # which rich requires
    assert sizes.installed_bytes(entry("", "", "x", "no-such-distribution")) is None
    with pytest.raises(metadata.PackageNotFoundError):
        sizes.closure(["no-such-distribution"])


@pytest.mark.parametrize(
    ("requirement", "name"),
    [("numpy>=2", "numpy"), ("Jinja2", "jinja2"), ("typing_extensions; python_version<'3'", "typing-extensions")],
)
def test_names_of_requirements(benchmarks, requirement, name):
    assert benchmarks("sizes").name_of(requirement) == name


# The subcommand


def test_bench_runs_the_benchmarks_of_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)
    called = []
    monkeypatch.setattr(cli.subprocess, "call", lambda command: called.append(command) or 3)
    assert cli.main(["bench", "--quick", "--rows", "xor", "--help"]) == 3
    assert called == [[sys.executable, "-m", "benchmarks", "--quick", "--rows", "xor", "--help"]]


def test_bench_elsewhere_says_where_the_benchmarks_are(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench"]) == 1
    assert "get the source of tinygrad_edu and run this in its folder" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.parametrize("row", ["xor", "perceptron", "wide", "gpt", "lstm", "resnet", "recommender"])
def test_our_framework_on_cuda_has_the_losses_of_the_cpu(benchmarks, row):
    found = []
    for name, device in (("eager", "cpu"), ("jit", "cuda")):
        network = benchmarks("network").network_of(benchmarks(f"rows.{row}"), "cuda").quick()
        kind = getattr(benchmarks("peers.ours"), benchmarks("peers").ENTRIES[name].kind)
        with tg.use_device(device):
            peer = kind(network)
            if network.through_fit:
                found.append([peer.fit(*network.rows(), epochs=1)])
            else:
                found.append([peer.value(peer.step()) for _ in range(4)])
    assert found[1] == pytest.approx(found[0], rel=1e-3)


LAUNCHES = {  # what a step of these rows, in quick size, makes the device run: in float32, and in bfloat16
    "xor": (12, 14),
    "mnist": (17, 20),
    "wide": (22, 26),
    "recommender": (27, 30),
    "lenet": (35, 42),
    "lstm": (79, 82),
    "gru": (81, 84),
    "translation": (117, 123),
    "gpt": (215, 232),
    "resnet": (334, 381),
}


@pytest.mark.gpu
@pytest.mark.parametrize("row", LAUNCHES)
def test_a_step_on_cuda_is_one_graph_of_so_many_launches(benchmarks, row):
    """The host sends copies of the batch, a kernel with the step's numbers, the graph, and a copy of the loss; nothing
    comes back."""
    emugpu = pytest.importorskip("emugpu", reason="only the emulator counts launches")
    network = benchmarks(f"rows.{row}").NETWORK.quick()
    for policy, most in zip(("float32", "bfloat16"), LAUNCHES[row], strict=True):
        with tg.use_device("cuda"), tg.mixed_precision(policy):
            peer = benchmarks("peers.ours").Jit(network)
            peer.device = "cuda"
            for _ in range(3):
                with emugpu.count_launches() as counts:
                    peer.step()
        assert len(counts.graph_launches) == 1
        assert len(counts) == 5
        assert counts.device_to_host == []
        assert len(counts.replayed) <= most


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("tf32", 1e-2), ("bfloat16", 5e-2)])
def test_how_close_losses_must_be_depends_on_the_precision(benchmarks, precision, tolerance):
    for value, agrees in ((0.5 * (1 + 0.9 * tolerance), True), (0.5 * (1 + 1.1 * tolerance), False)):
        session = FakeSession({("jax", "losses"): losses(7, value)})
        session.precision = precision
        assert ("jax" in run(benchmarks, session)["frameworks"]) == agrees


def test_on_cuda_it_is_told_what_is_sent(benchmarks):
    def sent(arguments):
        return {"seconds": 2e-6, "launches": 7}

    session = FakeSession({(name, "sent"): sent for name in ("eager", "torch", "jax")})
    assert "sent" not in run(benchmarks, session)["frameworks"]["jax"]
    session.device = "cuda"
    record = run(benchmarks, session)
    report = benchmarks("report")
    assert (report.host(record, "jax"), report.launches(record, "jax")) == (2.0, 7)
    assert report.host(record, "keras") is None


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_sent_is_known_without_a_count_of_launches(benchmarks, fails, monkeypatch):
    def launches(self):
        if fails:
            raise RuntimeError("no profiler")
        return 7

    answers = answers_of(benchmarks, "eager", "xor")
    answers.build()
    monkeypatch.setattr(type(answers.peer), "launches", launches)
    found = answers.sent()
    assert found["launches"] == (None if fails else 7)
    assert found["seconds"] > 0


def test_the_precision_is_one_of_cuda(benchmarks, capsys):
    with pytest.raises(SystemExit):
        benchmarks("__main__").parse(["--precision", "tf32"])
    assert "--precision is for --device cuda" in capsys.readouterr().err
    assert benchmarks("__main__").parse(["--device", "cuda", "--precision", "tf32"]).precision == "tf32"


def test_who_is_measured_on_cuda(benchmarks, monkeypatch):
    absent = benchmarks("peers").Absent
    with pytest.raises(absent, match="on the CPU only"):
        benchmarks("peers.base").Peer.use("cuda", "float32")
    benchmarks("peers.base").Peer.use("cpu", "float32")
    ours = benchmarks("peers.ours")
    with pytest.raises(absent, match="is jit there"):
        ours.JitNumPy.use("cuda", "float32")
