"""Random training steps, eager and under jit, compared bit for bit after each of twenty calls.

A step is a random list of operations, effects and an ending (what it does with its loss); between the calls weights are
frozen, loaded, moved and so on. Two equal worlds of parameters, buffers and optimizers see the same. Where the eager
step fails, jit must fail in the same way and leave its world as it was.

    JIT_MACHINE_EXAMPLES=20000 pytest tests/test_jit_machine.py      # a long run; default: 120, always the same ones
"""

import os
from types import SimpleNamespace

import numpy
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

import tinygrad_edu as tg
from tinygrad_edu import Tensor
from tinygrad_edu.autograd import Primitive
from tinygrad_edu.backend import default_generator
from tinygrad_edu.optimizers import SGD, Adam, AdamW
from tinygrad_edu.state import Switch, state

EXAMPLES = int(os.environ.get("JIT_MACHINE_EXAMPLES", "120"))
CALLS = 20

RULES = [
    lambda: SGD(0.05),
    lambda: SGD(0.05, momentum=0.9),
    lambda: SGD(0.05, momentum=0.5, nesterov=True, weight_decay=0.01),
    lambda: Adam(0.01),
    lambda: AdamW(0.01, weight_decay=0.1),
]


class World:
    """Everything that a step may change."""

    def __init__(self, rules):
        random = numpy.random.default_rng(3)

        def make(*shape):
            return random.uniform(-1, 1, shape).astype("float32")

        arena, stats = make(12), make(2, 4)
        self.tensors = {
            "w": Tensor(make(3, 4), True),
            "k": Tensor(make(4, 4).T, True),
            "table": Tensor(make(5, 4), True),
            "b": Tensor(arena[:4], True),  # three parts of one array
            "u": Tensor(arena[4:8], True),
            "frozen": Tensor(arena[8:]),
            "mean": Tensor(make(4)),
            "stats": Tensor(stats),  # one array, and parts of it
            "row": Tensor(stats[1]),
            "back": Tensor(stats[0, ::-1]),
        }
        first, second = (RULES[i]() for i in rules)
        first.elementwise = rules[1] % 2 == 0  # whether its parameters are laid into one array
        self.optimizers = [first.build([self.w, self.b, self.k, self.table]), second.build([self.u])]
        for optimizer in self.optimizers:
            optimizer._update = optimizer._updated  # without a plan of its own, which rounds differently
        self.twin = Tensor(self.b.data)  # another tensor on the array of b

    def __getattr__(self, name):
        return self.__dict__["tensors"][name]

    @property
    def parameters(self):
        return [p for o in self.optimizers for p in o.parameters]

    def seen(self):
        """All that can be compared, by name."""
        found = {name: bits(t.data) for name, t in self.tensors.items()}
        found |= {f"{name}.requires_grad": t.requires_grad for name, t in self.tensors.items()}
        grads = {name: t.grad for name, t in self.tensors.items()}
        found |= {f"{name}.grad": None if g is None else (*bits(g), g.data.strides) for name, g in grads.items()}
        found |= {f"{i}.{n}": bits(a) for i, o in enumerate(self.optimizers) for n, a in o.state_dict().items()}
        return found | {"generator": default_generator.state}

    def save(self):
        grads = {
            name: None if t.grad is None else Tensor(t.grad.data.copy(order="K")) for name, t in self.tensors.items()
        }
        arrays = {name: t.data.copy() for name, t in self.tensors.items()}
        return arrays, grads, [o.state_dict() for o in self.optimizers], default_generator.state

    def restore(self, saved):
        arrays, grads, states, default_generator.state = saved
        for name, t in self.tensors.items():
            t.assign_(arrays[name])
            t.grad = grads[name]
        for optimizer, values in zip(self.optimizers, states, strict=True):
            optimizer.iterations, optimizer.learning_rate = int(values["iterations"]), float(values["learning_rate"])
            for name, t in optimizer._named_state().items():
                t.assign_(values[name])


def bits(a):
    """What makes two arrays (or numbers) equal to the last bit."""
    a = a.detach().data if isinstance(a, Tensor) else a
    return (type(a).__name__, numpy.asarray(a).dtype.str, numpy.shape(a), numpy.asarray(a).tobytes())


# What a step is made of

fuse = SimpleNamespace(left=None)


def _burn(xp, a):
    if fuse.left is not None:
        fuse.left -= 1
        if fuse.left < 0:
            raise KeyboardInterrupt
    return a * 1


bomb = Primitive(_burn, "opaque")
bomb.defvjp(lambda g, y, a: bomb(g))


class Cube(tg.Function):
    @staticmethod
    def forward(ctx, x, scale):
        y = x * x * scale
        ctx.save_for_backward(x, scale, y)
        return y, y * x

    @staticmethod
    def backward(ctx, g, h):
        x, scale, y = ctx.saved_tensors
        return g * x * scale * 2.0 + h * y * 3.0, (g * x * x).sum(axis=0) if ctx.needs_input_grad[1] else None


def dropped(s, x):
    return tg.dropout(x, 0.25) if state.training else x * tg.uniform((4,), 0.5, 1.5)


def penalty(s):
    """The squared norm of a gradient: a gradient of gradients."""
    grad = tg.grad(lambda x: (tg.tanh(x @ s.k * s.u) ** 2).sum())(s.p.detach())
    return s.p * (grad * grad).mean()


def through_view(s):
    s.row.assign_(s.row * 0.5 + s.p.detach().mean(axis=0))
    before = s.stats.sum()
    s.row.assign_(s.row + s.stats[0])
    return s.p + before * s.stats[1]


def kept_view(s):
    """A view that is made before its memory is overwritten."""
    view, flipped = s.stats[0], s.mean.detach()[::-1]
    s.stats.assign_(s.stats * 0.75)
    s.mean.assign_(s.mean * 0.5)
    return s.p + view * flipped + s.back


def moving_mean(s):
    s.mean.assign_(s.mean * 0.9 + s.p.detach().mean(axis=0) * 0.1)


OPERATIONS = {
    "tanh": lambda s: tg.tanh(s.p),
    "relu": lambda s: tg.relu(s.p) - s.q * 0.5,
    "multiply": lambda s: s.p * s.q,
    "where": lambda s: tg.where(s.p > s.q, s.p, s.frozen),
    "softmax": lambda s: tg.softmax(s.p * s.b, axis=-1),
    "norm": lambda s: tg.layer_norm(s.p, s.u, s.frozen),
    "matmul": lambda s: s.p @ s.k + s.b,
    "tied": lambda s: (s.p @ s.w.T) @ s.w,
    "moments": lambda s: (s.p - s.p.mean(axis=0)) / (s.p.var(axis=0) + 1.0),
    "views": lambda s: s.p[::-1].T.reshape(4, -1).T + s.q[:1],
    "split": lambda s: tg.concatenate(tg.split(s.p, 2, axis=1)[::-1], axis=1),
    "gather": lambda s: s.p + tg.embedding(s.table, s.ids).mean(axis=0),
    "scatter": lambda s: s.p + tg.scatter_add(s.table, s.ids, s.p[:1])[2],
    "number": lambda s: s.p * s.number + s.number**2 / 4.0,
    "counted": lambda s: s.p * (1.0 / (1.0 + s.optimizers[0].iterations)) + (-2.0) ** s.optimizers[0].iterations * 1e-6,
    "buffers": lambda s: (s.p - s.mean) * s.row + s.twin,
    "noise": lambda s: dropped(s, s.p),
    "checkpoint": lambda s: tg.checkpoint(lambda x: dropped(s, tg.tanh(x @ s.k)) * s.b, s.p),
    "nested checkpoint": lambda s: tg.checkpoint(
        lambda x: tg.checkpoint(lambda y: dropped(s, y * s.u), x + tg.normal((4,))) + dropped(s, x), s.q
    ),
    "function": lambda s: sum(Cube.apply(tg.tanh(s.p), s.u)),
    "constant": lambda s: Cube.apply(s.p.detach(), s.frozen)[0] + tg.arange(4, dtype="float32"),
    "penalty": penalty,
    "jvp": lambda s: s.p + tg.jvp(lambda x: tg.tanh(x * s.b), [s.q.detach()], [s.frozen + s.q.detach()])[1],
    "hessian": lambda s: s.p @ tg.hessian(lambda x: (x**3 * s.frozen).sum())(s.b.detach()),
    "inner": lambda s: s.p + s.inner(s.q.detach(), s.number).detach() + s.inner(s.p, 2.0),
    "bomb": lambda s: bomb(s.p),
    "moving mean": moving_mean,
    "through view": through_view,
    "kept view": kept_view,
    "rate": lambda s: setattr(s.optimizers[0], "learning_rate", 0.1 / (1.0 + s.optimizers[0].iterations) ** 0.5),
    "decay": lambda s: setattr(s.optimizers[1], "learning_rate", s.optimizers[1].learning_rate * 0.9 + s.number * 1e-3),
}

# What a step does with its loss


def clip_by_norm(s, loss):
    loss.backward()
    present = [p for p in s.parameters if p.grad is not None]
    norm = sum((p.grad * p.grad).sum() for p in present) ** 0.5
    for p in present:
        p.grad = p.grad * tg.minimum(1.0, 0.5 / (norm + 1e-6))
    s.optimizers[0].step()


def clip_by_value(s, loss):
    loss.backward()
    for p in s.parameters:
        if p.grad is not None:
            p.grad = tg.where(tg.absolute(p.grad) > 0.1, tg.sign(p.grad) * 0.1, p.grad)
    for optimizer in s.optimizers:
        optimizer.step()
        optimizer.zero_grad()


def in_turn(s, loss):
    """The second optimizer sees what the first has done."""
    s.optimizers[0].minimize(loss)
    s.optimizers[1].minimize(((s.q.detach() * s.u - s.w.sum() * s.b) ** 2).mean())


def by_hand(s, loss):
    g, h = tg.grad(lambda w, u: ((s.x @ w) * u).var() + (s.p.detach() * u).sum(), argnums=(0, 1))(s.w, s.u)
    s.w.assign_(s.w - g * s.optimizers[0].learning_rate)
    s.u.assign_(s.u - h * 0.01)


def twice(s, loss):
    loss.backward(retain_graph=True)
    loss.backward(s.mean[0])
    s.b.grad = s.u.grad  # one gradient in two places
    s.optimizers[1].step()


ENDINGS = {
    "nothing": lambda s, loss: None,
    "accumulate": lambda s, loss: loss.backward(),
    "minimize": lambda s, loss: s.optimizers[0].minimize(loss),
    "both": lambda s, loss: s.optimizers[0].minimize(loss) or s.optimizers[1].minimize((s.u * s.u).sum()),
    "clip by norm": clip_by_norm,
    "clip by value": clip_by_value,
    "in turn": in_turn,
    "by hand": by_hand,
    "twice": twice,
}
PENALTIES = {
    "none": lambda s: 0.0,
    "l2": lambda s: sum((p * p).sum() for p in s.parameters) * 0.01,
    "l1": lambda s: tg.absolute(s.w).sum() * 0.01 + s.optimizers[0].learning_rate,
}
RESULTS = {
    "loss": lambda s, loss: loss,
    "nothing": lambda s, loss: None,
    "tuple": lambda s, loss: (loss.detach(), [s.p, "text"], s.optimizers[0].learning_rate, 3),
    "dict": lambda s, loss: {"w": s.w, "view": s.stats[1], "grad": s.b.grad, "h": (s.q.T, s.number * 2)},
}


def make_step(world, program, wrap):
    """The step of a program on that world, and one that only applies gradients; `wrap` is tg.jit or nothing."""
    s = SimpleNamespace(**world.tensors, parameters=world.parameters, optimizers=world.optimizers, twin=world.twin)
    s.inner = wrap(lambda x, number: tg.tanh(x * s.b) * number)

    def step(batch, number):
        s.x, s.ids, s.number = batch["x"], batch["ids"], number
        values = [s.x @ s.w + s.b]
        for name, i, j in program.body:
            s.p, s.q = values[-1 - i % len(values)], values[-1 - j % len(values)]
            value = OPERATIONS[name](s)
            if value is not None:
                values.append(tg.tanh(value))  # so that wild programs stay finite
        s.p, s.q = values[-1], values[len(values) // 2]
        loss = (tg.tanh(s.p) ** 2).mean() + (tg.tanh(s.q) * s.u).mean() + PENALTIES[program.penalty](s)
        if state.grad_enabled:
            ENDINGS[program.ending](s, loss)
        for name in program.after:
            OPERATIONS[name](s)
        return RESULTS[program.result](s, loss)

    def apply():
        for optimizer in world.optimizers:
            if any(p.grad is not None for p in optimizer.parameters):
                optimizer.step()
                optimizer.zero_grad()

    return wrap(step), wrap(apply)


# What happens between the calls: to both worlds


def freeze(world, i):
    p = world.parameters[i % len(world.parameters)]
    p.requires_grad_(not p.requires_grad)


def move(world, i):
    t = list(world.tensors.values())[i % len(world.tensors)]
    t.data = t.data.copy()


def load(world, i):
    t = list(world.tensors.values())[i % len(world.tensors)]
    t.assign_(numpy.linspace(-0.5, 0.5, t.size).reshape(t.shape))


def zero(world, i):
    for p in world.parameters[: i % 8]:
        p.grad = None


def give_grad(world, i):
    p = world.parameters[i % len(world.parameters)]
    p.grad = Tensor(numpy.full(p.shape, 0.1, dtype="float32"))


def load_optimizer(world, i):
    values = world.optimizers[i % 2].state_dict()
    world.optimizers[i % 2].load_state_dict({n: numpy.full_like(a, 0.5) if a.ndim else a for n, a in values.items()})


EVENTS = {
    "nothing": lambda world, i: None,
    "freeze": freeze,
    "move": move,
    "load": load,
    "zero": zero,
    "give grad": give_grad,
    "load optimizer": load_optimizer,
    "learning rate": lambda world, i: setattr(world.optimizers[i % 2], "learning_rate", 0.01 * i),
    "decay": lambda world, i: setattr(world.optimizers[i % 2], "weight_decay", 0.1 if i % 4 < 2 else 0.0),
    "seed": lambda world, i: tg.seed(i),
}
KINDS = ["step"] * 16 + ["apply", "no_grad", "training", "bad ids", "interrupt"]

names = st.sampled_from(sorted(OPERATIONS))
programs = st.builds(
    SimpleNamespace,
    body=st.lists(st.tuples(names, st.integers(0, 7), st.integers(0, 7)), max_size=8),
    after=st.lists(st.sampled_from(["moving mean", "through view", "kept view", "rate", "decay"]), max_size=2),
    ending=st.sampled_from(sorted(ENDINGS)),
    penalty=st.sampled_from(sorted(PENALTIES)),
    result=st.sampled_from(sorted(RESULTS)),
    rules=st.tuples(*[st.integers(0, len(RULES) - 1)] * 2),
)
calls = st.tuples(
    st.sampled_from(["nothing"] * 30 + sorted(EVENTS)),
    st.integers(0, 40),
    st.sampled_from(KINDS),
    st.sampled_from([3] * 17 + [1, 2, 5]),
)


def leaves(tree):
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, (tuple, list)) else [tree]


def described(result):
    """A result by its form and its bits."""
    return [
        (type(leaf).__name__, getattr(leaf, "requires_grad", None), leaf if leaf is None else bits(leaf))
        for leaf in leaves(result)
    ]


def attempt(function, *args):
    """(result, None) or (None, the exception's type and text)."""
    try:
        return function(*args), None
    except (tg.GradientError, IndexError, ValueError) as error:
        return None, (type(error), str(error))


class Machine:
    """Two equal worlds, and what is called on each."""

    def __init__(self, program):
        self.eager, self.jitted = World(program.rules), World(program.rules)
        self.step = make_step(self.eager, program, lambda function: function)
        self.jit = make_step(self.jitted, program, tg.jit(cache_size=1000, fuse=False))
        self.kept = []

    def call(self, which, *args):
        """One call in each world."""
        saved, before = self.eager.save(), self.jitted.seen()
        expected, error = attempt(self.step[which], *args)
        after = default_generator.state
        if error is not None:
            self.eager.restore(saved)
            after = saved[-1]
        default_generator.state = saved[-1]
        found, own_error = attempt(self.jit[which], *args)
        assert own_error == error
        assert default_generator.state == after
        if error is not None:
            assert self.jitted.seen() == before
        self.same()
        assert described(found) == described(expected)
        grads = [p.grad for p in self.jitted.parameters if p.grad is not None]
        self.kept += [(t, bits(t)) for t in [*leaves(found), *grads] if isinstance(t, Tensor)]

    def interrupted(self, count, *args):
        """Ctrl-C at the `count`-th place where there is a bomb."""
        before, fuse.left = self.jitted.seen(), count
        try:
            self.jit[0](*args)
        except (KeyboardInterrupt, tg.GradientError):
            assert self.jitted.seen() == before
        else:
            after, fuse.left = default_generator.state, None
            default_generator.state = before["generator"]
            attempt(self.step[0], *args)
            assert default_generator.state == after
        finally:
            fuse.left = None
        self.same()

    def same(self):
        found, expected = self.jitted.seen(), self.eager.seen()
        assert found == expected, [name for name in expected if found[name] != expected[name]]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # overflow in a wild program is as good as any other number
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="JIT_MACHINE_EXAMPLES" not in os.environ,
    print_blob=True,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(programs, st.lists(calls, min_size=CALLS, max_size=CALLS))
def test_replay_equals_eager(program, schedule):
    note(f"{vars(program)}")
    tg.seed(1)
    machine = Machine(program)
    for number, (event, i, kind, rows) in enumerate(schedule):
        random = numpy.random.default_rng(number)
        x, ids = tg.tensor(random.uniform(-1, 1, (rows, 3)), dtype="float32"), random.integers(0, 5, 3)
        generator = default_generator.state
        for world in (machine.eager, machine.jitted):
            default_generator.state = generator
            EVENTS[event](world, i)
        if kind == "bad ids":
            ids = ids + 4
        args = ({"x": x, "ids": ids}, 0.5 + number / 8)
        with Switch("training", kind == "training"), Switch("grad_enabled", kind != "no_grad"):
            if kind == "apply":
                machine.call(1)
            elif kind == "interrupt":
                machine.interrupted(i % 4, *args)
            else:
                machine.call(0, *args)
    for t, before in machine.kept:
        assert bits(t) == before
