"""Finds the minimum of Rosenbrock's function by Newton's method: the Hessian is the gradient's derivative."""

import numpy as np

import tinygrad_edu as tg


def rosenbrock(x):
    return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2


x = tg.tensor([-1.2, 1.0], dtype="float64")
for step in range(7):
    value, gradient = tg.value_and_grad(rosenbrock)(x)
    print(f"step {step}: f({x[0].item():9.6f}, {x[1].item():9.6f}) = {value.item():.3e}")
    hessian = tg.hessian(rosenbrock)(x)
    x = x - np.linalg.solve(hessian.numpy(), gradient.numpy())

print(f"minimum at ({x[0].item():.6f}, {x[1].item():.6f})")
