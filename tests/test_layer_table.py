"""Every layer, from its cases in layer_cases.py: Keras's numbers and arguments, gradients to second order, jit, saving,
batch sizes, wrong input, CUDA."""

import json
import re
from pathlib import Path

import numpy
import pytest
from layer_cases import F, L, every_case, leaves, mapped
from op_cases import assert_near

import tinygrad_edu as tg
from tinygrad_edu import Tensor, layers, models
from tinygrad_edu.backend import to_host
from tinygrad_edu.layers import config

CASES = every_case()
EVERY = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
KERAS = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES if case.keras])
NOT_OURS = re.compile(
    r"data_format|dtype|kwargs|lora_.*|quantization_config|seed"
    r"|antialias|encoding|oov_method|ragged|renorm.*|salt|sparse|synchronized|vocabulary_dtype|weights"
)
"""Arguments of Keras that no layer of this package has: one dtype, channels last, one generator, dense tensors, UTF-8;
`weights` of Bidirectional does nothing."""


@pytest.fixture(scope="module")
def golden():
    """What tests/golden/make_keras.py has recorded, by name."""
    with numpy.load(Path(__file__).with_name("golden") / "keras.npz") as file:
        return {name: file[name] for name in file.files}


def prepared(case, dtype="float32", device="cpu"):
    """The layer with the case's weights, and its inputs and keywords as tensors, of which floats require grad."""
    with tg.use_dtype(dtype), tg.use_device(device):
        inputs, call = tensors(case, dtype)
        layer = case.layer.make(layers)
        layer(inputs, **call)
        layer.set_weights(case.weights([w.shape for w in layer.get_weights()]))
    return layer, inputs, call


def tensors(case, dtype="float32"):
    """The inputs and keywords as tensors on the default device; text and plain arguments as they are."""

    def made(a, kind):
        if not isinstance(a, numpy.ndarray) or a.dtype.kind in "UO":
            return a
        floating = isinstance(kind, F)
        return tg.tensor(a, dtype=dtype if a.dtype.kind == "f" else None, requires_grad=floating)

    kinds = iter(leaves((case.inputs, case.call)))
    return mapped(lambda a: made(a, next(kinds)), case.arrays())


def outputs_of(layer, inputs, call):
    return [y for y in leaves(layer(inputs, **call)) if y is not None]


def numbers_of(layer, inputs, call):
    """The outputs, and last the sum of what the layer adds to the loss, if it adds anything."""
    outputs = outputs_of(layer, inputs, call)
    return [*outputs, sum(layer.losses)] if layer.losses else outputs


def watched(inputs, call):
    return [t for t in leaves((inputs, call)) if isinstance(t, Tensor) and t.requires_grad]


def total_of(case, outputs):
    factors = case.cotangents([y.shape for y in outputs])
    total = 0.0
    for y, factor in zip(outputs, factors, strict=True):
        total = total + (y * like(factor, y)).sum()
    return total


def like(factor, y):
    return tg.tensor(factor, dtype=y.dtype if y.dtype.kind == "f" else None, device=y.device)


def results(case, layer, inputs, call):
    """Outputs, penalty and gradients (of the inputs, then of the parameters) as tensors."""
    outputs = numbers_of(layer, inputs, call)
    wanted = [*watched(inputs, call), *layer.trainable_weights]
    if not case.order:
        return outputs, []
    loss = total_of(case, outputs)
    if not loss.requires_grad:
        return outputs, [tg.zeros_like(t.detach()) for t in wanted]
    loss.backward()
    gradients = [tg.zeros_like(t.detach()) if t.grad is None else t.grad for t in wanted]
    for t in wanted:
        t.grad = None
    return outputs, gradients


def test_every_layer_has_a_case():
    bases = {"ActivatedLayer", "InputLayer", "Layer", "Operation"}
    kinds = {name for name, kind in vars(layers).items() if isinstance(kind, type) and issubclass(kind, layers.Layer)}
    named = {leaf.name for case in CASES for leaf in every_layer(case.layer)}
    assert kinds - bases == named & kinds, f"no case for {sorted(kinds - bases - named)}"
    assert len({case.name for case in CASES}) == len(CASES)


def test_every_layer_has_an_input_that_it_refuses():
    given = {case.layer.name for case in CASES}
    assert not given - {case.layer.name for case in CASES if case.wrong}


def every_layer(description):
    yield description
    for leaf in leaves(description.config):
        if isinstance(leaf, L):
            yield from every_layer(leaf)


@KERAS
def test_numbers_are_those_of_keras(case, golden):
    layer, inputs, call = prepared(case)
    outputs, gradients = results(case, layer, inputs, call)
    found = {f"output {i}": y.detach() for i, y in enumerate(outputs)}
    found |= {f"gradient {i}": g for i, g in enumerate(gradients)}
    known = {name for name in golden if name.startswith(f"{case.name}/")}
    assert {f"{case.name}/{name}" for name in found} == known
    for name, array in found.items():
        expected = golden[f"{case.name}/{name}"]
        assert array.dtype.kind == expected.dtype.kind, name
        assert_near(array.numpy(), expected, 1, name, eps=1e-5)


@KERAS
def test_arguments_and_defaults_are_those_of_keras(case, golden):
    ours = config.arguments(getattr(layers, case.layer.name))
    theirs = json.loads(str(golden["arguments"]))[case.layer.name]
    for name, default in theirs.items():
        if NOT_OURS.fullmatch(name):
            continue
        assert name in ours, f"{case.layer.name} has no argument {name}"
        mine = "required" if ours[name] is config.REQUIRED else json.loads(json.dumps(ours[name], default=str))
        # a number means the same number for each axis
        same = [mine] * len(default) if isinstance(default, list) and default and isinstance(mine, int) else mine
        assert same == default, f"{case.layer.name}({name}={mine!r}), Keras: {default!r}"


@EVERY
def test_gradients_equal_finite_differences(case):
    if not case.order:
        pytest.skip("it has no gradient")
    layer, inputs, call = prepared(case, "float64")
    wanted = [*watched(inputs, call), *layer.trainable_weights]
    if not wanted:
        pytest.skip("nothing in it has a gradient")
    homes = list(map(home_of(layer), layer.trainable_weights))

    def function(*values):
        given = iter(values)
        new_inputs, new_call = mapped(lambda t: next(given) if any(t is w for w in wanted) else t, (inputs, call))
        for (owner, name), value in zip(homes, given, strict=True):
            # of a weight that requires no gradient there would be no penalty
            setattr(owner, name, value if value.requires_grad else value.detach().requires_grad_())
        outputs = [y for y in numbers_of(layer, new_inputs, new_call) if y.dtype.kind == "f"]
        return tuple(outputs)

    with tg.use_dtype("float64"):
        tg.gradcheck(function, [t.detach() for t in wanted], order=case.order, rtol=1e-6, atol=1e-7)


def home_of(layer):
    """Finds the layer and the attribute that hold a parameter."""
    places = {
        id(member): (owner, name)
        for _, owner in layer._layers()
        for name, member in owner._members()
        if isinstance(member, Tensor)
    }
    return lambda parameter: places[id(parameter)]


@EVERY
def test_jit_equals_eager(case):
    if not case.jit:
        pytest.skip("it is not for jit")
    layer, inputs, call = prepared(case)
    arrays = [t.detach() for t in leaves((inputs, call)) if isinstance(t, Tensor)]
    if len(arrays) != len(leaves((inputs, call))):
        arrays = [leaf.detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves((inputs, call))]
    if any(isinstance(leaf, numpy.ndarray) for leaf in arrays):
        pytest.skip("text is not for jit")
    buffers = [(t, t.data.copy()) for _, t in layer.named_buffers()]
    kinds = leaves((case.inputs, case.call))

    def compute(given):
        made = [Tensor(t.data, True) if isinstance(kind, F) else t for t, kind in zip(given, kinds, strict=True)]
        values = iter(made)
        new_inputs, new_call = mapped(lambda t: next(values), (inputs, call))
        outputs = numbers_of(layer, new_inputs, new_call)
        wanted = [*watched(new_inputs, new_call), *layer.trainable_weights]
        total = total_of(case, outputs)
        if case.order and total.requires_grad:
            total.backward()
        gradients = [t.grad.detach() for t in wanted if t.grad is not None]
        for p in layer.trainable_weights:
            p.grad = None
        return [*[y.detach() for y in outputs], *gradients]

    step = tg.jit(compute)
    for scale in (1.0, 0.75, 1.0):
        scaled = [t * scale if isinstance(kind, F) else t for t, kind in zip(arrays, kinds, strict=True)]
        after = []
        for run in (compute, step):
            for t, data in buffers:
                t.assign_(data)
            tg.seed(3)
            after.append(([t.numpy() for t in run(scaled)], [t.numpy() for t, _ in buffers]))
        for found, expected in zip(*map(flat, after), strict=True):
            assert_near(found, expected, 100, case.name)
    assert len(step.plans) == 1


def flat(pair):
    return [*pair[0], *pair[1]]


@EVERY
def test_a_saved_model_gives_the_same(case, tmp_path):
    if not case.saved:
        pytest.skip("it cannot be saved")
    layer, inputs, call = prepared(case)
    given = [t for t in leaves((inputs, call)) if isinstance(t, Tensor)]
    made = [layers.Input(batch_shape=t.shape, dtype=t.dtype.name) for t in given]
    symbols = iter(made)
    of_symbols, keywords = mapped(lambda t: next(symbols) if isinstance(t, Tensor) else t, (inputs, call))
    model = models.Model(made, layer(of_symbols, **{"training": False, **keywords}))
    expected = [y.detach().numpy() for y in leaves(model(given))]
    model.save(tmp_path / "m.safetensors")
    loaded = models.load_model(tmp_path / "m.safetensors")
    for y, z in zip(leaves(loaded(given)), expected, strict=True):
        numpy.testing.assert_array_equal(y.detach().numpy(), z)
    assert set(case.layer.config) <= set(layer.get_config())
    again = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert again.get_config() == layer.get_config()


@EVERY
def test_batch_sizes_mix(case):
    layer, inputs, call = prepared(case)
    if not case.rows:
        pytest.skip("its rows depend on each other")
    whole = outputs_of(layer, inputs, call)
    for count in (1, 2):
        some = mapped(lambda t, n=count: t[:n] if isinstance(t, (Tensor, numpy.ndarray)) else t, (inputs, call))
        for y, z in zip(outputs_of(layer, *some), whole, strict=True):
            assert_near(y.detach().numpy(), z.detach().numpy()[:count], 30, case.name)


@EVERY
def test_wrong_input(case):
    layer, _, call = prepared(case)
    random = case.random("wrong")
    for inputs, text in case.wrong:
        made = mapped(lambda leaf: leaf.make(random) if hasattr(leaf, "make") else leaf, inputs)
        made = mapped(lambda a: tg.tensor(a) if isinstance(a, numpy.ndarray) and a.dtype.kind in "fiub" else a, made)
        with pytest.raises((ValueError, TypeError, IndexError)) as caught:
            layer(made, **call)
        assert re.search(text, str(caught.value)), caught.value
        assert ": expected " in str(caught.value), caught.value


@pytest.mark.gpu
@EVERY
def test_cuda_equals_the_cpu(case):
    tg.seed(3)
    layer, inputs, call = prepared(case)
    expected = results(case, layer, inputs, call)
    with tg.use_device("cuda"):
        tg.seed(3)
        layer, inputs, call = prepared(case, device="cuda")
        found = results(case, layer, inputs, call)
    for y, z in zip(flat(found), flat(expected), strict=True):
        assert str(y.device) == "cuda:0"
        assert_near(to_host(y.data), z.detach().numpy(), 100, case.name)
