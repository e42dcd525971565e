"""Convolution, pooling and resizing on CUDA: results and gradients against PyTorch's in float64."""

import math

import numpy
import pytest
from op_cases import assert_near
from test_mixed_precision import ROUNDED

import tinygrad_edu as tg
from tinygrad_edu.backend import Device, to_host
from tinygrad_edu.kernels import registry
from tinygrad_edu.kernels.cuda import convolution, images, recipes
from tinygrad_edu.kernels.cuda.launches import Moved, Product
from tinygrad_edu.kernels.gemm import Gemm
from tinygrad_edu.ops.convolution import Geometry

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")

from torch_references import TORCH  # noqa: E402  (needs torch)
from torch_rounded import Rounded  # noqa: E402

pytestmark = pytest.mark.gpu
SLACK = 40
"""Rounding errors of the largest number: sums have up to 1000 terms here, of which errors partly cancel."""

CONVOLUTIONS = {
    "one pixel": ("conv2d", (1, 1, 1, 1), (1, 1, 1, 2), {}),
    "one image": ("conv2d", (1, 5, 7, 3), (3, 3, 3, 5), {}),
    "vectors of channels": ("conv2d", (2, 6, 5, 8), (3, 2, 8, 4), {"padding": "same"}),
    "more than a warp of vectors": ("conv2d", (2, 4, 5, 36), (3, 3, 36, 3), {"padding": 1}),
    "a kernel as large as the image": ("conv2d", (3, 4, 5, 2), (4, 5, 2, 3), {}),
    "strides": ("conv2d", (2, 9, 8, 4), (3, 2, 4, 3), {"strides": (2, 3), "padding": 1}),
    "strides beyond the kernel": ("conv2d", (2, 9, 8, 3), (2, 1, 3, 2), {"strides": (3, 4)}),
    "strides that leave a rest": ("conv2d", (1, 10, 9, 4), (3, 3, 4, 4), {"strides": 4}),
    "dilation": ("conv2d", (2, 9, 11, 3), (3, 2, 3, 4), {"dilation": (2, 3), "padding": ((1, 2), (3, 0))}),
    "strides and dilation": ("conv2d", (2, 9, 11, 4), (3, 2, 4, 4), {"dilation": 2, "strides": 3, "padding": 2}),
    "padding wider than the kernel": ("conv2d", (2, 3, 4, 2), (2, 2, 2, 3), {"padding": ((3, 0), (1, 4))}),
    "pixels": ("conv2d", (2, 3, 5, 6), (1, 1, 6, 4), {}),
    "pixels in groups": ("conv2d", (2, 3, 5, 6), (1, 1, 2, 9), {"groups": 3}),
    "pixels with strides": ("conv2d", (2, 5, 4, 6), (1, 1, 6, 4), {"strides": 2}),
    "pixels with a border": ("conv2d", (2, 3, 5, 6), (1, 1, 6, 4), {"padding": ((0, 1), (2, 0))}),
    "pixels with a border behind": ("conv2d", (2, 3, 5, 6), (1, 1, 6, 4), {"padding": ((0, 1), (0, 2))}),
    "pixels that move": (
        "conv2d_transpose",
        (2, 3, 5, 6),
        (1, 1, 4, 6),
        {"padding": 1, "dilation": 3, "output_padding": 2},
    ),
    "groups": ("conv2d", (2, 6, 7, 8), (3, 3, 4, 6), {"groups": 2, "padding": 1}),
    "groups with strides": ("conv2d", (2, 6, 7, 6), (3, 3, 2, 9), {"groups": 3, "strides": 2, "padding": 1}),
    "one axis": ("conv1d", (3, 11, 4), (3, 4, 5), {"padding": "causal", "dilation": 2}),
    "three axes": ("conv3d", (2, 4, 5, 6, 2), (2, 3, 1, 2, 3), {"padding": (0, 1, 0)}),
    "three axes with strides": ("conv3d", (2, 5, 5, 6, 4), (2, 3, 3, 4, 2), {"strides": (1, 2, 3), "padding": "same"}),
    "transposed": ("conv2d_transpose", (2, 4, 5, 3), (3, 3, 2, 3), {"padding": "same"}),
    "transposed with strides": ("conv2d_transpose", (2, 4, 5, 4), (3, 2, 8, 4), {"strides": 2, "output_padding": 1}),
    "transposed with gaps": ("conv2d_transpose", (2, 4, 5, 3), (2, 2, 2, 3), {"strides": (3, 1)}),
    "depthwise, one channel": ("depthwise_conv2d", (2, 5, 6, 1), (3, 3, 1, 1), {"padding": "same"}),
    "depthwise": ("depthwise_conv2d", (2, 9, 8, 8), (3, 3, 8, 1), {"padding": 1}),
    "depthwise, odd": ("depthwise_conv2d", (3, 7, 6, 5), (3, 2, 5, 1), {"strides": 2, "padding": "same"}),
    "depthwise, filters": ("depthwise_conv2d", (2, 7, 6, 4), (2, 5, 4, 3), {"dilation": (2, 1), "padding": 2}),
    "depthwise, many channels": ("depthwise_conv2d", (2, 4, 5, 70), (3, 3, 70, 1), {"padding": 1}),
    "depthwise, many outputs": ("depthwise_conv1d", (9, 301, 3), (9, 3, 2), {"strides": 2}),
}
POOLS = {
    "one pixel": ((1, 1, 1, 1), 1, {}),
    "side by side": ((2, 6, 8, 4), 2, {}),
    "a rest": ((2, 7, 9, 3), (2, 4), {}),
    "overlapping": ((2, 9, 8, 8), 3, {"strides": 2, "padding": "same"}),
    "gaps": ((2, 9, 11, 5), 2, {"strides": (3, 5)}),
    "padding": ((1, 6, 5, 12), (3, 4), {"strides": 1, "padding": ((2, 1), (0, 3))}),
    "one axis": ((3, 10, 6), 3, {"strides": 2, "padding": 1}),
    "three axes": ((2, 4, 5, 6, 4), (2, 3, 2), {"strides": (1, 2, 2), "padding": "same"}),
}
SIZES = {
    "the same": ((2, 3, 4, 4), (3, 4)),
    "one pixel": ((1, 1, 1, 3), (4, 5)),
    "to one pixel": ((2, 5, 6, 4), (1, 1)),
    "twice": ((2, 3, 4, 8), (6, 8)),
    "half": ((2, 8, 6, 3), (4, 3)),
    "any": ((2, 7, 5, 4), (3, 17)),
    "any, odd": ((3, 4, 9, 5), (11, 2)),
}


def cases():
    for name, (function, image, kernel, keywords) in CONVOLUTIONS.items():
        yield pytest.param(function, (image, kernel), (), keywords, id=f"convolution: {name}")
    for name, (image, size, keywords) in POOLS.items():
        for kind in ("max", "average"):
            yield pytest.param(f"{kind}_pool{len(image) - 2}d", (image,), (size,), keywords, id=f"{kind} pool: {name}")
    for name, (image, size) in SIZES.items():
        for method in ("nearest", "bilinear"):
            yield pytest.param("resize", (image,), (size, method), {}, id=f"{method}: {name}")


def draw(shapes, dtype):
    random = numpy.random.default_rng(7)
    return [random.standard_normal(shape).astype(dtype) for shape in shapes]


def compare(function, arrays, arguments, keywords, aligned=True):
    """Result and gradients; each has to come from a recipe."""
    expected_inputs = [torch.from_numpy(a.astype("float64")).requires_grad_() for a in arrays]
    expected = TORCH[function](*expected_inputs, *arguments, **keywords)
    weight = numpy.random.default_rng(8).standard_normal(tuple(expected.shape)).astype(arrays[0].dtype)
    expected.backward(torch.from_numpy(weight.astype("float64")))
    inputs = [tg.tensor(on_cuda(a, aligned), requires_grad=True) for a in arrays]
    y = getattr(tg, function)(*inputs, *arguments, **keywords)
    y.backward(tg.tensor(on_cuda(weight, aligned)))
    assert y.device == Device("cuda")
    assert_near(y, expected.detach().numpy(), SLACK, "result")
    for i, (found, reference) in enumerate(zip(inputs, expected_inputs, strict=True)):
        assert_near(found.grad, reference.grad.numpy(), SLACK, f"gradient {i}")


def on_cuda(a, aligned):
    """The array in memory that is a multiple of 16 bytes, or not."""
    import cupy

    memory = cupy.empty(a.size + 1, a.dtype)
    place = memory[: a.size] if aligned else memory[1:]
    place[...] = cupy.asarray(a).ravel()
    return place.reshape(a.shape)


@pytest.fixture
def made(monkeypatch):
    """Makes every recipe anew, and tells which there were."""
    found, recipe = [], recipes.recipe

    def noted(path, arrays, attributes):
        found.append((path, recipe(path, arrays, attributes)))
        return found[-1][1]

    recipes._known.cache_clear()
    monkeypatch.setattr(recipes, "recipe", noted)
    yield found
    recipes._known.cache_clear()
    assert found
    assert all(made for _, made in found)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("function", "shapes", "arguments", "keywords"), [*cases()])
def test_results_and_gradients_equal_torch(function, shapes, arguments, keywords, dtype, made):
    compare(function, draw(shapes, dtype), arguments, keywords)


LYING = {"not aligned": False, "aligned": True}
PARTS = ["vectors of channels", "groups", "strides", "groups with strides", "transposed", "three axes", "pixels"]


@pytest.mark.parametrize("lying", LYING)
@pytest.mark.parametrize("name", PARTS)
def test_patches_in_parts(name, lying, made, monkeypatch):
    monkeypatch.setattr(convolution, "PATCHES", 2000)
    function, image, kernel, keywords = CONVOLUTIONS[name]
    compare(function, draw((image, kernel), "float32"), (), keywords, LYING[lying])
    assert name == "pixels" or max(len(recipe.tasks) for _, recipe in made) > 3


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
@pytest.mark.parametrize("name", PARTS)
def test_other_precisions(name, precision, made, monkeypatch):
    monkeypatch.setattr(convolution, "PATCHES", 2000)
    function, image, kernel, keywords = CONVOLUTIONS[name]
    exact, found = [], []
    switch = tg.set_matmul_precision if precision == "tf32" else tg.mixed_precision
    for results, rounded in ((exact, "float32"), (found, precision)):
        with switch(rounded):
            inputs = [tg.tensor(a, device="cuda", requires_grad=True) for a in draw((image, kernel), "float32")]
            y = getattr(tg, function)(*inputs, **keywords)
            y.sum().backward()
            results += [to_host(t.data) for t in (y, *(t.grad for t in inputs))]
    for one, other in zip(exact, found, strict=True):
        error = abs(one - other).max() / abs(one).max()
        assert 1e-5 < error < (1e-2 if precision == "bfloat16" else 2e-3)


@pytest.mark.parametrize("lying", LYING)
@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if "depthwise" not in name and name != "one pixel"])
def test_factors_of_16_bits(name, precision, lying, made, monkeypatch):
    monkeypatch.setattr(convolution, "PATCHES", 2000)
    function, image, kernel, keywords = CONVOLUTIONS[name]
    with tg.mixed_precision(precision), Rounded(ROUNDED[precision]):
        compare(function, draw((image, kernel), "float32"), (), keywords, LYING[lying])


@pytest.mark.parametrize(
    ("name", "tasks"),
    [  # of forward, transpose and kernel gradient
        ("vectors of channels", [3, 3, 3]),  # round or turn what is no patch, cut patches, multiply
        ("strides", [3, 4, 3]),  # the transpose: round both, multiply, put images together
        ("pixels", [3, 3, 3]),  # round both, multiply
        ("depthwise", [1, 1, 2]),
    ],
)
def test_each_factor_is_rounded_once(name, tasks, made):
    function, image, kernel, keywords = CONVOLUTIONS[name]
    with tg.mixed_precision("bfloat16"):
        x, w = (tg.tensor(a, device="cuda", requires_grad=True) for a in draw((image, kernel), "float32"))
        getattr(tg, function)(x, w, **keywords).sum().backward()
    assert [len(recipe.tasks) for _, recipe in made] == tasks
    steps = [step.step if isinstance(step, Moved) else step for _, recipe in made for step in recipe.tasks]
    assert not any(isinstance(step, Gemm) for step in steps)  # which would round its factors
    assert sum(isinstance(step, Product) for step in steps) == (0 if name == "depthwise" else 3)


@pytest.mark.parametrize("lying", LYING)
@pytest.mark.parametrize("function", ["depthwise_conv2d", "max_pool2d", "average_pool2d", "resize"])
def test_elements_that_64_bits_count(function, lying, made, monkeypatch):
    monkeypatch.setattr(images, "LARGE", 0)
    shapes = ((2, 5, 7, 8), (3, 3, 8, 1))[: 2 if "conv" in function else 1]
    arguments = {"resize": ((8, 4), "bilinear")}.get(function, ((3, 2),) if "pool" in function else ())
    compare(function, draw(shapes, "float32"), arguments, {}, LYING[lying])
    steps = [step for _, recipe in made for step in recipe.tasks]
    assert {dict(step.defines)["INDEX"] for step in steps} == {"unsigned long long"}


def test_memory_for_patches_is_bounded():
    geometry = Geometry((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    x, g, kernel = (
        registry.Form(shape, numpy.dtype("float32"), ())
        for shape in ((512, 112, 112, 64), (512, 112, 112, 128), (3, 3, 64, 128))
    )
    for made in (
        convolution.forward(x, kernel, output=(112, 112), geometry=geometry),
        convolution.transpose(g, kernel, image=(112, 112), geometry=geometry),
        convolution.kernel_gradient(x, g, window=(3, 3), geometry=geometry),
    ):
        memory = [4 * math.prod(shape) for shape, _ in made.between]
        assert convolution.PATCHES / 2 < max(memory) <= convolution.PATCHES
        assert all(offset % 256 == 0 for step in made.tasks if isinstance(step, Moved) for offset in step.offsets)


NAN, INF = math.nan, math.inf
WINDOWS = {
    "equal ones": ([2, 2, 1, 2, 2, 0], 3, 1),
    "all the lowest": ([-INF, -INF, -INF, -INF], 2, 1),
    "NaN is the largest": ([1, NAN, INF, NAN, 2, 3, 4, 5], 2, 2),
    "the first NaN of several": ([NAN, 5, NAN, 1, 2, 0], 3, 1),
    "infinities": ([INF, 1, INF, -INF, 0, 3], 3, 2),
    "at the borders": ([-INF, 3, -INF], 3, 2),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", WINDOWS)
def test_which_element_is_the_largest(name, channels, dtype):
    """Of equal ones the first, of a window with NaN the first NaN; never the border, which is -inf."""
    values, window, stride = WINDOWS[name]
    x = numpy.repeat(numpy.array(values, dtype).reshape(1, -1, 1), channels, axis=-1)
    border = window // 2
    padded, expected, given = [-INF] * border + values + [-INF] * border, [], numpy.zeros(len(values))
    for number, at in enumerate(range(0, len(padded) - window + 1, stride)):
        found = padded[at : at + window]
        inside = [i for i in range(window) if border <= at + i < border + len(values)]
        nans = [i for i in inside if math.isnan(found[i])]
        first = (nans or [max(inside, key=lambda i: found[i])])[0]
        expected.append(found[first])
        given[at + first - border] += number + 1
    inputs = tg.tensor(x, device="cuda", requires_grad=True)
    y = tg.max_pool1d(inputs, window, strides=stride, padding=border)
    weight = numpy.repeat(numpy.arange(1, len(expected) + 1, dtype=dtype).reshape(1, -1, 1), channels, axis=-1)
    y.backward(tg.tensor(weight, device="cuda"))
    for c in range(channels):
        numpy.testing.assert_array_equal(to_host(y.data)[0, :, c], expected)
        numpy.testing.assert_array_equal(to_host(inputs.grad.data)[0, :, c], given)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_what_is_not_finite_spreads_as_on_the_cpu(method):
    x = numpy.ones((1, 4, 4, 4), "float32")
    x[0, 1, 2], x[0, 3, 0] = NAN, INF
    for size in ((4, 4), (8, 8), (6, 3)):
        results = []
        for device in ("cpu", "cuda"):
            inputs = tg.tensor(x, device=device, requires_grad=True)
            y = tg.resize(inputs, size, method)
            y.backward(tg.resize(inputs.detach(), size, "nearest"))
            results.append([to_host(y.data), to_host(inputs.grad.data)])
        for found, expected in zip(*results, strict=True):
            numpy.testing.assert_allclose(found, expected, rtol=1e-6)
