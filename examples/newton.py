"""Newton's method finds a minimum in a few steps, with the derivative of the gradient.

Descent along the gradient needs thousands of steps in the curved valley of Rosenbrock's function. Newton's method knows
the curvature, the Hessian, and needs seven.

Try: another start; descent along the gradient.
"""

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import viz
from tinygrad_edu.cli import run


def rosenbrock(x):
    return (1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2


def main(quick=False, plot=None):
    x = tg.tensor([-1.2, 1.0], dtype="float64")
    path = [x.numpy()]
    for step in range(7):
        value, gradient = tg.value_and_grad(rosenbrock)(x)
        print(f"step {step}: f({x[0].item():9.6f}, {x[1].item():9.6f}) = {value.item():.3e}")
        hessian = tg.hessian(rosenbrock)(x)
        x = x - tg.tensor(np.linalg.solve(hessian.numpy(), gradient.numpy()))
        path.append(x.numpy())

    if plot:
        figure, ax = viz.subplots()
        viz.plot_surface(lambda x, y: np.log1p(rosenbrock((x, y))), {"Newton's method": path}, ax=ax)
        ax.set(title="Seven steps to the minimum, heights as log(1 + f)", xlabel="x", ylabel="y")
        figure.savefig(plot)
    return {"x": x[0].item(), "y": x[1].item(), "value": rosenbrock(x).item()}


if __name__ == "__main__":
    run(main)
