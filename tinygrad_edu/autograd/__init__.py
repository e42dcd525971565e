"""The autograd engine: Tensors, the graph they leave, and the one loop that walks it backward."""

from .function import Context, Function, checkpoint
from .functional import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .gradcheck import GradcheckError, gradcheck
from .modes import enable_grad, no_grad
from .primitive import Node, Primitive, Spec, broadcast_to, cast, primitive, primitives, stack, sum_to
from .tensor import Tensor, tensor

__all__ = [
    "Context", "Function", "GradcheckError", "Node", "Primitive", "Spec", "Tensor", "broadcast_to", "cast",
    "checkpoint", "enable_grad", "grad", "gradcheck", "hessian", "hvp", "jacobian", "jvp", "no_grad", "primitive",
    "primitives", "stack", "sum_to", "tensor", "value_and_grad", "vjp",
]
