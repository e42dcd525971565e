"""Tells two spirals apart with a network of two hidden layers, written with tensors only: no layers, no optimizer."""

import math
from itertools import pairwise

import tinygrad_edu as tg

tg.seed(0)

# 200 points on two spiral arms, with a little noise
radius = tg.linspace(0.2, 2.0, 100)
angle = radius * math.pi
arm = tg.stack([radius * tg.cos(angle), radius * tg.sin(angle)], axis=1)
points = tg.concatenate([arm, -arm]) + tg.normal((200, 2), std=0.05)
labels = tg.concatenate([tg.zeros((100,), dtype="int64"), tg.ones((100,), dtype="int64")])

sizes = [2, 32, 32, 2]
weights = [tg.normal((m, n), std=math.sqrt(2.0 / m)).requires_grad_() for m, n in pairwise(sizes)]
biases = [tg.zeros((n,), requires_grad=True) for n in sizes[1:]]


def network(x):
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = tg.tanh(tg.linear(x, weight, bias))
    return tg.linear(x, weights[-1], biases[-1])


for step in range(1000):
    loss = tg.cross_entropy(network(points), labels)
    loss.backward()
    for parameter in weights + biases:
        parameter.assign_(parameter.detach() - 0.5 * parameter.grad)
        parameter.grad = None
    if step % 200 == 0:
        print(f"step {step:4}: loss {loss.item():.4f}")

accuracy = (network(points).argmax(axis=1) == labels).astype("float32").mean()
print(f"accuracy {accuracy.item():.1%}")
