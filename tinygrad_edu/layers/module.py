"""Module: what holds parameters: their names, freezing, state and devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy

from ..autograd import Owner, Tensor
from ..backend import Device, default_device, device, to_device, to_host
from ..errors import check_cast, check_names, message
from ..state import state
from .penalties import Penalties


class Module(Owner):
    """Tensors and modules held by attributes, also inside lists, tuples and dicts, belong to the module: a tensor that
    requires grad is a parameter, another one a buffer (saved and moved, not trained)."""

    # Defaults on the class, so that a subclass that forgets super().__init__() works too.
    name: str | None = None
    _trainable = True
    _frozen: frozenset[str] = frozenset()
    _device: Device | None = None
    passing: ClassVar[frozenset[str]] = frozenset()
    """Attributes whose tensors are buffers that are moved with the layer but not saved: a state between batches."""
    _regularized: dict[str, Any] = {}  # noqa: RUF012 -- replaced, never written into
    """Regularizers by the attributes of the weights that they are for."""
    _penalized: list[Any] = []  # noqa: RUF012
    """Weights with regularizers, of which the attributes are not known."""
    _noted: Penalties | None = None
    """What was added to the loss in the outermost call in which this layer was called last."""

    @property
    def where(self) -> str:
        """How errors name this layer: `Dense 'head'`."""
        return type(self).__name__ + (f" {self.name!r}" if self.name else "")

    def _members(self) -> Iterator[tuple[str, Any]]:
        """The tensors and layers that the attributes hold directly or in lists, tuples and dicts, with their names."""
        for name, value in [(name, value) for name, value in vars(self).items() if name != "_penalized"]:
            yield from _find(self.where, name, value)

    def _layers(self, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Module]]:
        """This layer and all inside, each once, with the prefix of its names."""
        seen = set() if seen is None else seen
        seen.add(id(self))
        yield prefix, self
        for name, member in self._members():
            if isinstance(member, Module) and id(member) not in seen:
                yield from member._layers(f"{prefix}{name}.", seen)

    def _tensors(self, passing: bool = False) -> Iterator[tuple[str, Tensor, bool]]:
        """Every tensor of this layer and of those inside, each once: name, tensor, whether it is a parameter; also
        those that are not saved, if asked for."""
        found: dict[int, tuple[str, Tensor, bool]] = {}
        for prefix, layer in self._layers():
            for name, member in layer._members():
                if isinstance(member, Tensor) and member.is_leaf:
                    if not passing and name.split(".")[0] in layer.passing:
                        continue
                    first, _, was = found.get(id(member), (prefix + name, member, False))
                    # one that two layers hold may be frozen in either
                    found[id(member)] = first, member, was or member.requires_grad or name in layer._frozen
        yield from found.values()

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Names and parameters, frozen ones included; a parameter that is used twice comes once."""
        return ((name, t) for name, t, is_parameter in self._tensors() if is_parameter)

    def parameters(self) -> list[Tensor]:
        """The parameters, frozen ones included: what an optimizer is built with."""
        return [t for _, t in self.named_parameters()]

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors that are moved with the layer but not trained; all but those of `passing` are saved."""
        return ((name, t) for name, t, is_parameter in self._tensors(passing=True) if not is_parameter)

    @property
    def weights(self) -> list[Tensor]:
        """The parameters and buffers, but for those that are not saved."""
        return [t for _, t, _ in self._tensors()]

    @property
    def trainable_weights(self) -> list[Tensor]:
        """The parameters that are not frozen."""
        return [t for t in self.parameters() if t.requires_grad]

    @property
    def non_trainable_weights(self) -> list[Tensor]:
        """The frozen parameters, and the buffers."""
        return [t for t in self.weights if not t.requires_grad]

    @property
    def variables(self) -> list[Tensor]:
        """Keras's other name for `weights`."""
        return self.weights

    @property
    def trainable_variables(self) -> list[Tensor]:
        """Keras's other name for `trainable_weights`."""
        return self.trainable_weights

    def count_params(self) -> int:
        """How many numbers the `weights` hold."""
        return sum(t.size for _, t, _ in self._tensors())

    @property
    def trainable(self) -> bool:
        """False freezes the parameters of this layer and of all inside: no gradient is computed for them. Compile
        again after it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for _, layer in self._layers():
            layer._trainable = bool(value)
            own = {name: t for name, t in layer._members() if isinstance(t, Tensor) and t.is_leaf}
            if value:
                for name in layer._frozen & own.keys():
                    own[name].requires_grad_(True)
                layer._frozen = frozenset()
            else:
                layer._frozen |= {name for name, t in own.items() if t.requires_grad}
                for name in layer._frozen & own.keys():
                    own[name].requires_grad_(False)

    # State and devices

    def state_dict(self) -> dict[str, numpy.ndarray[Any, Any]]:
        """Names, such as "layers.0.kernel", and copies of the values of the `weights`, as NumPy arrays."""
        return {name: numpy.array(to_host(t.data)) for name, t, _ in self._tensors()}

    def load_state_dict(self, values: Mapping[str, Any], strict: bool = True) -> None:
        """Overwrites parameters and buffers with the arrays (or tensors) of those names: all of them, or none.

        Raises one ValueError that lists every missing, unexpected and mis-shaped name; with `strict=False` only
        shapes count and names found on one side only are left alone.
        """
        own = {name: t for name, t, _ in self._tensors()}
        arrays = {name: v.data if isinstance(v, Tensor) else numpy.asarray(v) for name, v in values.items()}
        hint = "" if own else "build it first: call it once, or give its first layer an input_shape."
        shapes = ({name: t.shape for name, t in own.items()}, {name: a.shape for name, a in arrays.items()})
        check_names(f"{self.where} load_state_dict", *shapes, strict=strict, hint=hint)
        where = f"{self.where} load_state_dict"
        cast = {name: _cast_like(where, name, arrays[name], t.dtype) for name, t in own.items() if name in arrays}
        for name, array in cast.items():
            own[name].assign_(to_device(array, own[name].device))

    def get_weights(self) -> list[numpy.ndarray[Any, Any]]:
        """Copies of the `weights`, in the order of `state_dict`."""
        return list(self.state_dict().values())

    def set_weights(self, weights: list[Any]) -> None:
        """Overwrites the `weights` with arrays in the order of `get_weights`."""
        names = [name for name, _, _ in self._tensors()]
        if len(weights) != len(names):
            raise ValueError(message(f"{self.where} set_weights", f"{len(names)} arrays", f"{len(weights)}"))
        self.load_state_dict(dict(zip(names, weights, strict=True)))

    @property
    def device(self) -> Device:
        """Where the parameters are, or would be made."""
        return next((t.device for _, t, _ in self._tensors()), self._device or default_device())

    @property
    def dtype(self) -> numpy.dtype[Any]:
        """The floating dtype of the parameters, or the one that they would get."""
        return next((t.dtype for _, t, _ in self._tensors() if t.dtype.kind == "f"), state.dtype)

    def to(self, target: str | Device) -> Module:
        """Moves all parameters and buffers (and their gradients) to a device, now or when they are built; returns the
        layer."""
        chosen = device(target)
        for _, layer in self._layers():
            layer._device = chosen
        for _, t, _ in self._tensors(passing=True):
            t.data = to_device(t.data, chosen)
            if t.grad is not None:
                t.grad.data = to_device(t.grad.data, chosen)
        return self


def _cast_like(where: str, name: str, array: Any, dtype: Any) -> Any:
    """`array` in that dtype. Raises TypeError for another kind of numbers: floating or not."""
    if array.dtype.kind not in "fiub" or (array.dtype.kind == "f") != (dtype.kind == "f"):
        raise TypeError(message(where, f"{name} of dtype {dtype}", str(array.dtype)))
    return check_cast(where, name, array, dtype)


def _find(where: str, name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (Tensor, Module)):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _find(where, f"{name}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _find(where, f"{name}.{key}", item)
    elif isinstance(value, (set, frozenset)) and any(isinstance(item, (Tensor, Module)) for item in value):
        raise TypeError(message(where, f"attribute {name!r} to hold its layers in a list, tuple or dict", "a set"))
