"""Initial values of parameters, with Keras's names, arguments and formulas.

`Dense(8, kernel_initializer="he_normal")` takes a name, `HeNormal(seed=1)` an object, and any function
`f(shape, dtype)` that returns a tensor or array will do. All numbers come from the package's generator (`tg.seed`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy

from .autograd import Tensor, cast, tensor
from .backend import Generator, default_device, default_generator, special_functions, to_device, to_host
from .errors import ShapeError, check_integer, check_number, choice, message
from .registry import Configured, as_json, found
from .state import state, use_dtype

__all__ = [
    "INITIALIZERS", "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity",
    "IdentityInitializer", "Initializer", "LecunNormal", "LecunUniform", "Ones", "Orthogonal",
    "OrthogonalInitializer", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Zeros",
    "constant", "get", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "identity", "lecun_normal",
    "lecun_uniform", "ones", "orthogonal", "random_normal", "random_uniform", "serialize", "truncated_normal",
    "variance_scaling", "zeros",
]  # fmt: skip

Shape = tuple[int, ...]


class Initializer(Configured):
    """The base class: a subclass defines `values(generator, shape)`.

    Args:
        seed: None draws from the package's generator; an integer gives the same values at every call.

    >>> import tinygrad_edu as tg
    >>> tg.initializers.Constant(2.0)((3,))
    tensor([2., 2., 2.])
    """

    def __init__(self, seed: int | None = None):
        self.seed = None if seed is None else check_integer(type(self).__name__, "seed", seed, 0)

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        """A tensor of that shape on the default device, of the default dtype unless another is asked for."""
        generator = default_generator if self.seed is None else Generator(self.seed)
        return cast(Tensor(self.values(generator, tuple(shape))), dtype or state.dtype)

    def values(self, generator: Generator, shape: Shape) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no values(generator, shape)")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this initializer again."""
        return {key: value for key, value in vars(self).items() if value is not None}


class Constant(Initializer):
    """`value` everywhere; or these values, if it is an array (a tensor, nested lists) of the weight's shape, such as
    vectors of words for an `Embedding`.

    Raises ShapeError for a weight of another shape.
    """

    def __init__(self, value: Any = 0.0):
        self.value = _finite("Constant", value)

    seed = None

    def values(self, generator: Generator, shape: Shape) -> Any:
        if isinstance(self.value, float):
            return default_device().xp.full(shape, self.value, dtype="float64")
        if self.value.shape != shape:
            raise ShapeError(message("Constant", f"a weight of its values' shape, {self.value.shape}", f"{shape}"))
        return to_device(self.value, default_device())

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value if isinstance(self.value, float) else self.value.tolist()}


def _finite(where: str, value: Any) -> Any:
    """A finite number, or an array of them."""
    if not isinstance(value, (Tensor, list, tuple)) and not getattr(value, "ndim", 0):
        return check_number(where, "value", value, "that is finite", lambda _: True)
    with use_dtype("float64"):  # what Python floats are
        array = to_host(tensor(value, device="cpu").data)
    if not numpy.isfinite(array).all():
        raise ValueError(message(where, "value of finite numbers", f"{array[~numpy.isfinite(array)][0]}"))
    return array


class Zeros(Constant):
    """0 everywhere."""

    def __init__(self) -> None:
        super().__init__(0.0)

    def get_config(self) -> dict[str, Any]:
        return {}


class Ones(Constant):
    """1 everywhere."""

    def __init__(self) -> None:
        super().__init__(1.0)

    def get_config(self) -> dict[str, Any]:
        return {}


class RandomUniform(Initializer):
    """Uniform numbers in [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.minval = check_number("RandomUniform", "minval", minval, "that is finite", lambda _: True)
        self.maxval = check_number("RandomUniform", "maxval", maxval, f"of at least {minval}", lambda v: v >= minval)

    def values(self, generator: Generator, shape: Shape) -> Any:
        return generator.uniform(shape, self.minval, self.maxval, dtype="float64")


class RandomNormal(Initializer):
    """Normal numbers."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.mean = check_number(type(self).__name__, "mean", mean, "that is finite", lambda _: True)
        self.stddev = check_number(type(self).__name__, "stddev", stddev, "of at least 0", lambda v: v >= 0)

    def values(self, generator: Generator, shape: Shape) -> Any:
        return generator.normal(shape, self.mean, self.stddev, dtype="float64")


class TruncatedNormal(RandomNormal):
    """Normal numbers, those further than two `stddev` from the mean left out."""

    def values(self, generator: Generator, shape: Shape) -> Any:
        return self.mean + self.stddev * truncated_draws(generator, shape)


class VarianceScaling(Initializer):
    """Numbers whose variance is `scale / n`, where n is the number of inputs, of outputs, or the mean of both.

    Args:
        scale: 1 keeps the variance of a linear layer's input; 2 makes up for the half that a ReLU cuts off.
        mode: "fan_in", "fan_out" or "fan_avg".
        distribution: "truncated_normal", "untruncated_normal" or "uniform".
    """

    def __init__(
        self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal", seed: int | None = None
    ):
        super().__init__(seed)
        where = type(self).__name__
        self.scale = check_number(where, "scale", scale, "above 0", lambda v: v > 0)
        for name, value, values in (
            ("mode", mode, ("fan_in", "fan_out", "fan_avg")),
            ("distribution", distribution, ("truncated_normal", "untruncated_normal", "uniform")),
        ):
            if value not in values:
                raise choice(where, name, value, values)
        self.mode, self.distribution = mode, distribution

    def values(self, generator: Generator, shape: Shape) -> Any:
        fan_in, fan_out = fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        std = math.sqrt(self.scale / max(1.0, n))
        if self.distribution == "uniform":
            limit = math.sqrt(3.0) * std
            return generator.uniform(shape, -limit, limit, dtype="float64")
        if self.distribution == "untruncated_normal":
            return generator.normal(shape, 0.0, std, dtype="float64")
        return std / TRUNCATED_STD * truncated_draws(generator, shape)


class _Scaling(VarianceScaling):
    """VarianceScaling with its three choices made."""

    choices: tuple[float, str, str]

    def __init__(self, seed: int | None = None):
        super().__init__(*self.choices, seed=seed)

    def get_config(self) -> dict[str, Any]:
        return {} if self.seed is None else {"seed": self.seed}


class GlorotUniform(_Scaling):
    """Uniform within sqrt(6 / (fan_in + fan_out)): Glorot and Bengio, "Understanding the difficulty of training deep
    feedforward neural networks" (2010). Keras's default for kernels."""

    choices = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Scaling):
    """Truncated normal with variance 2 / (fan_in + fan_out): Glorot and Bengio (2010)."""

    choices = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Scaling):
    """Uniform within sqrt(6 / fan_in), for ReLU: He et al., "Delving deep into rectifiers" (2015)."""

    choices = (2.0, "fan_in", "uniform")


class HeNormal(_Scaling):
    """Truncated normal with variance 2 / fan_in, for ReLU: He et al. (2015)."""

    choices = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Scaling):
    """Uniform within sqrt(3 / fan_in): LeCun et al., "Efficient backprop" (1998)."""

    choices = (1.0, "fan_in", "uniform")


class LecunNormal(_Scaling):
    """Truncated normal with variance 1 / fan_in: LeCun et al. (1998)."""

    choices = (1.0, "fan_in", "truncated_normal")


class Orthogonal(Initializer):
    """`gain` times a random matrix with orthonormal rows or columns, whichever are fewer, of the last axis and all
    others together: Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks"
    (2013). Keras's default for recurrent kernels.

    Raises ShapeError for a shape of fewer than two axes.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None):
        super().__init__(seed)
        self.gain = check_number("Orthogonal", "gain", gain, "that is finite", lambda _: True)

    def values(self, generator: Generator, shape: Shape) -> Any:
        if len(shape) < 2:
            raise ShapeError(message("Orthogonal", "a shape of at least two axes", f"{shape}"))
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = generator.normal((max(rows, columns), min(rows, columns)), dtype="float64")
        q, r = numpy.linalg.qr(to_host(normal))  # on the host, so that all devices get the same signs
        q = q * numpy.where(r.diagonal() < 0, -1.0, 1.0)  # uniform among all such matrices (Mezzadri, 2007)
        return to_device(self.gain * (q if rows >= columns else q.T).reshape(shape), default_device())


class Identity(Initializer):
    """`gain` on the diagonal of a matrix, 0 elsewhere. Raises ShapeError for a shape of other than two axes."""

    def __init__(self, gain: float = 1.0):
        super().__init__()
        self.gain = check_number("Identity", "gain", gain, "that is finite", lambda _: True)

    def values(self, generator: Generator, shape: Shape) -> Any:
        if len(shape) != 2:
            raise ShapeError(message("Identity", "a shape of two axes", f"{shape}"))
        return self.gain * default_device().xp.eye(*shape, dtype="float64")


def fans(shape: Shape) -> tuple[float, float]:
    """How many inputs and outputs a kernel of that shape connects: the last two axes, times the window of a
    convolution.

    >>> fans((3, 3, 16, 32))
    (144, 288)
    """
    if len(shape) < 2:
        n = shape[0] if shape else 1
        return n, n
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


TRUNCATED_STD = 0.87962566103423978
"""The standard deviation of a standard normal number truncated at -2 and 2."""


def truncated_draws(generator: Generator, shape: Shape) -> Any:
    """Standard normal numbers in [-2, 2], by the inverse of the distribution function: one draw each, on every
    device."""
    tail = 0.5 * math.erfc(math.sqrt(2.0))
    uniform = generator.uniform(shape, tail, 1.0 - tail, dtype="float64")
    return special_functions(default_device().xp).ndtri(uniform)


INITIALIZERS: dict[str, type[Initializer]] = {
    "zeros": Zeros,
    "zero": Zeros,
    "ones": Ones,
    "one": Ones,
    "constant": Constant,
    "random_uniform": RandomUniform,
    "uniform": RandomUniform,
    "random_normal": RandomNormal,
    "normal": RandomNormal,
    "truncated_normal": TruncatedNormal,
    "variance_scaling": VarianceScaling,
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "lecun_uniform": LecunUniform,
    "lecun_normal": LecunNormal,
    "orthogonal": Orthogonal,
    "identity": Identity,
}
# names that programs written for Keras use as well
constant, identity, ones, orthogonal, zeros = Constant, Identity, Ones, Orthogonal, Zeros
glorot_normal, he_normal, lecun_normal = GlorotNormal, HeNormal, LecunNormal
glorot_uniform, he_uniform, lecun_uniform = GlorotUniform, HeUniform, LecunUniform
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling, IdentityInitializer, OrthogonalInitializer = VarianceScaling, Identity, Orthogonal


def get(initializer: Any, where: str = "initializers.get") -> Any:
    """The initializer of that name ("he_normal" or "HeNormal"), or of `{"name": ..., "config": {...}}`, or `Constant`
    of an array or tensor; an object or function is given back as it is.

    Raises ValueError for an unknown name and suggests the nearest.

    >>> get("he_normal").mode
    'fan_in'
    """
    if isinstance(initializer, (numpy.ndarray, Tensor)):
        return Constant(initializer)
    form = "an initializer, its name or a function of shape and dtype"
    return found(where, "initializer", initializer, INITIALIZERS, form)


def serialize(initializer: Any) -> Any:
    """What `get` makes the initializer of again, as JSON; one's own is written by its name, which `load_model` looks up
    in `custom_objects`. Raises ValueError for a lambda, which has none."""
    if isinstance(initializer, str):
        return initializer
    return as_json("initializers.serialize", initializer, INITIALIZERS)
