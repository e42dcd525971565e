"""The autograd engine: Tensors, the graph they leave, and the one loop that walks it backward."""

from .function import Context, Function, checkpoint
from .functional import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .gradcheck import GradcheckError, gradcheck
from .modes import enable_grad, no_grad
from .primitive import Node, Primitive, Spec, broadcast_to, cast, primitive, primitives, stack, sum_to
from .engine import without_graph
from .settings import Owner, changes, tells_changes
from .tensor import Tensor, tensor
from .tracer import (
    HostNumber, Number, Tracer, check_array, check_range, decided, live, on_host, refuse, settled, user_line,
)  # fmt: skip
from .writes import commit, next_sequence, record as record_write, region, uninterrupted

__all__ = [
    "Context", "Function", "GradcheckError", "HostNumber", "Node", "Number", "Owner", "Primitive", "Spec", "Tensor",
    "Tracer", "broadcast_to", "cast", "changes", "check_array", "check_range", "checkpoint", "commit", "decided",
    "enable_grad", "grad", "gradcheck", "hessian", "hvp", "jacobian", "jvp", "live", "next_sequence", "no_grad",
    "on_host", "primitive", "primitives", "record_write", "refuse", "region", "settled", "stack", "sum_to",
    "tells_changes", "tensor", "uninterrupted", "user_line", "value_and_grad", "vjp", "without_graph",
]
