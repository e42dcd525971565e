"""Tensor: an array that remembers how it was computed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy

from ..backend import Array, Device, array_module, default_device, device, device_of, to_device, to_host
from ..errors import DeviceError, GradientError, ShapeError, message
from ..state import state
from . import writes
from .tracer import HostNumber, readable

HostArray: TypeAlias = numpy.ndarray[Any, Any]


class Tensor:
    """An n-dimensional array on a device, and a node of the computation graph if it `requires_grad`.

    Made by `tg.tensor` and by operations. A Tensor is a value: arithmetic makes new ones, `x += y` included; only
    `assign_` overwrites. The arithmetic operators and the methods (`x.sum()`, `x.reshape(...)`, `x[...]`) are the
    functions of `tinygrad_edu` and behave like NumPy's.

    Attributes:
        data: the array, NumPy's or CuPy's. Read it, but write through `assign_` only.
        requires_grad: whether `backward` reaches this tensor.
        grad: the gradient (a Tensor) that `backward` accumulated here, or None.
        node: the operation that made it; None for a leaf, which was made by hand or needs no gradient.
        mask: there only if a layer says which of its time steps count: a Tensor of booleans (batch, time).
        constraint: what an optimizer makes of each new value of this parameter (see `tg.constraints`), or None.
    """

    __slots__ = ("__weakref__", "_constraint", "_grad", "data", "hooks", "mask", "node", "requires_grad")
    __array_ufunc__ = None  # makes NumPy leave `array * tensor` to us

    data: Array
    requires_grad: bool
    _constraint: Any
    _grad: Tensor | None
    node: Any
    mask: Tensor

    def __init__(self, data: Array, requires_grad: bool = False, node: Any = None):
        self.data = data
        self.requires_grad = requires_grad
        self._grad = None
        self.node = node
        if state.trace is not None:
            state.trace.note_made(self)

    @property
    def grad(self) -> Tensor | None:
        return self._grad if state.trace is None else state.trace.read_grad(self)

    @grad.setter
    def grad(self, gradient: Tensor | None) -> None:
        if state.trace is None:
            self._grad = gradient
        else:
            state.trace.write_grad(self, gradient)

    @property
    def constraint(self) -> Any:
        return getattr(self, "_constraint", None)

    @constraint.setter
    def constraint(self, constraint: Any) -> None:
        if not (constraint is None or callable(constraint)):
            hint = "write tg.constraints.get(name)." if isinstance(constraint, str) else ""
            raise TypeError(message("constraint", "a function of a tensor, or None", repr(constraint), hint))
        self._constraint = constraint

    # What the array knows

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> numpy.dtype[Any]:
        return self.data.dtype

    @property
    def device(self) -> Device:
        return device_of(self.data)

    @property
    def is_leaf(self) -> bool:
        """Whether no operation stands behind this tensor."""
        return self.node is None

    # Leaving the graph, and Python and NumPy values

    def detach(self) -> Tensor:
        """The same array outside of the graph."""
        if state.trace is not None:
            state.trace.watch(self, values_only=True)
        return Tensor(self.data)

    def numpy(self) -> HostArray:
        """The values as a NumPy array that cannot be written: no copy on the CPU, a copy from CUDA.

        Raises GradientError if the tensor requires grad.
        """
        if self.requires_grad:
            hint = "call .detach().numpy() to leave the graph."
            raise GradientError(message("numpy", "a tensor outside of the graph", "one that requires grad", hint))
        host = to_host(readable(self.data, "view")).view()
        host.flags.writeable = False
        return host

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> HostArray:
        if self.device.kind != "cpu":
            raise DeviceError(
                message("numpy.asarray", "a tensor on the CPU", f"one on {self.device}", "call .to('cpu') first.")
            )
        return numpy.array(self.numpy(), dtype=dtype, copy=copy)

    def item(self) -> float | int | bool:
        """The one value as a Python number. Raises ShapeError if there is not exactly one."""
        if self.data.size != 1:
            raise ShapeError(message("item", "a tensor with one element", f"shape {self.shape}"))
        return readable(self.data, "item").item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return readable(self.data, "tolist").tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(message("index", "an integer tensor", f"dtype {self.dtype}"))
        return int(self.item())

    def __bool__(self) -> bool:
        if self.data.size != 1:
            hint = "use .all() or .any()."
            raise ShapeError(message("bool", "a tensor with one element", f"shape {self.shape}", hint))
        return bool(readable(self.data, "__bool__"))

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError(message("len", "a tensor with axes", "a 0-d tensor"))
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        lines = numpy.array2string(to_host(readable(self.data, "__repr__")), separator=", ", prefix="tensor(")
        extras = [] if self.dtype == numpy.float32 else [f"dtype={self.dtype}"]
        extras += [] if self.device.kind == "cpu" else [f"device='{self.device}'"]
        extras += ["requires_grad=True"] if self.requires_grad else []
        return f"tensor({', '.join([lines, *extras])})"

    def __format__(self, spec: str) -> str:
        return format(self.item() if spec else str(self), spec)

    __hash__ = object.__hash__

    def __setitem__(self, key: Any, value: Any) -> None:
        hint = "y = tg.index_put(x, key, value) gives the changed tensor, tg.scatter_add(x, key, value) adds."
        raise TypeError(message("x[key] = value", "no assignment, tensors are values", "one", hint))

    # Operators and methods are operations: ops/bind.py attaches them when all of those exist

    if TYPE_CHECKING:
        T: Tensor

        def to(self, target: str | Device) -> Tensor: ...
        def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def _unary(self) -> Tensor: ...
        def _binary(self, other: Any) -> Tensor: ...
        def _method(self, *args: Any, **keywords: Any) -> Tensor: ...

        __neg__ = __abs__ = __invert__ = _unary
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _binary
        __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _binary
        __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _binary
        __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = _binary
        all = any = argmax = argmin = astype = clip = cumsum = diagonal = _method
        dot = exp = expand_dims = log = max = mean = min = prod = _method
        ravel = repeat = reshape = round = sqrt = square = squeeze = std = _method
        sum = swapaxes = take = tanh = trace = transpose = var = _method

    # Writing

    def assign_(self, value: Any) -> Tensor:
        """Overwrites the values in place, outside of the graph; for parameters, buffers and optimizer state.

        `value` (a tensor, an array or a number) must have this shape, or be a number; it is cast to this dtype.
        Raises ShapeError for another shape, DeviceError for another device, GradientError if this is the result of
        an operation. A graph that saved the old values will refuse to run backward.
        """
        if state.trace is not None and isinstance(value, Tensor):
            state.trace.watch(value, values_only=True)
        source = value.data if isinstance(value, Tensor) else value
        source = source.item() if isinstance(source, numpy.generic) else source
        if self.node is not None:
            raise GradientError(message("assign_", "a leaf", "the result of an operation", "assign to x.detach()."))
        if not isinstance(source, (int, float, HostNumber)):
            if not hasattr(source, "shape"):  # a list is on no device yet
                source = to_device(check_dtype("assign_", numpy.asarray(source)), self.device)
            source = check_dtype("assign_", source)
            if source.shape != self.shape:
                raise ShapeError(message("assign_", f"shape {self.shape}", f"{source.shape}"))
            if device_of(source) != self.device:
                hint = f"pass value.to('{self.device}')."
                raise DeviceError(message("assign_", f"a value on {self.device}", f"one on {device_of(source)}", hint))
        if state.trace is not None:
            state.trace.assign(self, source)
            return self
        self.data[...] = source
        writes.record(writes.region(self.data))
        return self

    # Gradients

    def backward(self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Adds the gradient of this tensor with respect to every leaf that requires grad to the leaf's `.grad`.

        Args:
            gradient: the cotangent, of this tensor's shape; may be left out (then 1) for a tensor with one element.
            retain_graph: keep what the graph has saved, so that it can run backward again.
            create_graph: make the gradients differentiable themselves. `.grad` then holds the graph, a cycle that
                only the garbage collector frees: prefer `tg.grad`.

        Raises GradientError if nothing requires grad, or if the graph was freed by an earlier call, or if a saved
        array was overwritten since; ShapeError if `gradient` is missing or of another shape.

        >>> import tinygrad_edu as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([2., 4.])
        """
        from .engine import backward

        backward(self, gradient, retain_graph, create_graph)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Starts or stops tracking of this leaf, and returns it. Raises TypeError for integers and booleans."""
        if self.node is not None:
            raise GradientError(message("requires_grad_", "a leaf", "the result of an operation", "use .detach()."))
        if state.trace is not None:
            state.trace.check_requires_grad(self, requires_grad)
        self.requires_grad = check_differentiable(self.data, requires_grad)
        return self

    def retain_grad(self) -> Tensor:
        """Makes `backward` keep the gradient of this tensor in `.grad` although it is no leaf; returns the tensor.

        It is the gradient after the hooks. Raises GradientError if the tensor does not require grad.
        """
        self._require("retain_grad")
        if self.node is not None:
            self.node.retains = weakref.ref(self)  # the node must not hold its output: that would be a cycle
            type(self.node).observed = True
        return self

    def register_hook(self, hook: Callable[[Tensor], Any]) -> Callable[[], None]:
        """Calls `hook(gradient)` when the gradient of this tensor is complete; a returned Tensor takes its place.

        Returns a function that removes the hook. Raises GradientError if the tensor does not require grad.
        """
        self._require("register_hook")
        owner: Any = self if self.node is None else self.node
        if not hasattr(owner, "hooks"):
            owner.hooks = []
        if self.node is not None:
            type(self.node).observed = True
        hooks: list[Callable[[Tensor], Any]] = owner.hooks
        hooks.append(hook)
        return lambda: hooks.remove(hook) if hook in hooks else None

    def _require(self, where: str) -> None:
        if not self.requires_grad:
            raise GradientError(message(where, "a tensor that requires grad", "one that does not"))


def check_differentiable(array: Array, requires_grad: bool) -> bool:
    if requires_grad and array.dtype.kind != "f":
        raise TypeError(message("requires_grad", "a floating dtype", str(array.dtype), "only floats have gradients."))
    return requires_grad


def check_dtype(where: str, array: Array) -> Array:
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise TypeError(message(where, "booleans, integers, or floats of 16 to 64 bits", f"dtype {array.dtype}"))
    native = numpy.dtype(array.dtype.type)  # one dtype object each, so that `is` compares them
    return array if array.dtype is native else array.astype(native)


def tensor(data: Any, dtype: Any = None, device: str | Device | None = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of `data`: numbers, nested lists, a NumPy or CuPy array, or a Tensor (then detached).

    Args:
        dtype: by default an array keeps its dtype, Python floats get the default dtype, integers int64.
        device: by default CuPy arrays and tensors stay where they are, all else goes to the default device.
        requires_grad: whether `backward` is to compute its gradient.

    Raises TypeError for dtypes other than booleans, integers and floats of up to 64 bits.

    >>> import tinygrad_edu as tg
    >>> tg.tensor([[1, 2], [3, 4]], dtype="float32").T
    tensor([[1., 3.],
            [2., 4.]])
    """
    if state.trace is not None and isinstance(data, Tensor):
        state.trace.watch(data, values_only=True)
    array = data.data if isinstance(data, Tensor) else data
    if not hasattr(array, "dtype") or isinstance(array, numpy.generic):
        try:
            array = numpy.array(_plain(array))
        except ValueError as error:
            expected = "a number, or nested lists of equal lengths"
            raise ValueError(message("tensor", expected, type(data).__name__, f"NumPy said: {error}")) from error
        if dtype is None and array.dtype.kind == "f":
            dtype = state.dtype
    array = check_dtype("tensor", array)
    target = to_target(array, data, device)
    if state.trace is None:
        copy = check_dtype("tensor", array_module(target).array(target, dtype=dtype, copy=True))
    else:
        copy = state.trace.copy(target, check_dtype("tensor", numpy.empty(0, dtype or target.dtype)).dtype)
    return Tensor(copy, check_differentiable(copy, requires_grad))


def _plain(data: Any) -> Any:
    """`data` with the tensors inside of lists and tuples replaced by arrays."""
    if isinstance(data, (list, tuple)):
        return [_plain(item) for item in data]
    return to_host(data.data) if isinstance(data, Tensor) else data


def to_target(array: Array, given: Any, name: str | Device | None) -> Array:
    if name is not None:
        return to_device(array, device(name))
    stays = isinstance(given, Tensor) or array_module(array) is not numpy
    return array if stays else to_device(array, default_device())
