"""ResNet-20 for images of the size of CIFAR's, on CUDA one like ResNet-50 for those of ImageNet's: He et al., "Deep
residual learning for image recognition", 2016."""

from ..network import Network
from ..nodes import Node, activation, add, batch_norm, conv, dense, mean, pool


def block(x: Node, filters: int, stride: int) -> Node:
    y = activation(batch_norm(conv(x, filters, stride=stride, bias=False)), "relu")
    y = batch_norm(conv(y, filters, bias=False))
    if stride > 1:
        x = batch_norm(conv(x, filters, size=1, stride=stride, bias=False))
    return activation(add(y, x), "relu")


def layers(x: Node, blocks: int = 3) -> Node:
    x = activation(batch_norm(conv(x, 16, bias=False)), "relu")
    for filters in (16, 32, 64):
        for i in range(blocks):
            x = block(x, filters, stride=2 if i == 0 and filters > 16 else 1)
    return dense(mean(x), 10)


def bottleneck(x: Node, filters: int, stride: int) -> Node:
    y = activation(batch_norm(conv(x, filters, size=1, bias=False)), "relu")
    y = activation(batch_norm(conv(y, filters, stride=stride, bias=False)), "relu")
    y = batch_norm(conv(y, 4 * filters, size=1, bias=False))
    if x.shape != y.shape:
        x = batch_norm(conv(x, 4 * filters, size=1, stride=stride, bias=False))
    return activation(add(y, x), "relu")


def large(x: Node) -> Node:
    x = pool(activation(batch_norm(conv(x, 64, size=7, stride=2, bias=False)), "relu"))
    for filters, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(blocks):
            x = bottleneck(x, filters, stride=2 if i == 0 and filters > 64 else 1)
    return dense(mean(x), 1000)


# At a learning rate of 1e-3 rounding alone moves the losses by 2 % within 20 steps, in PyTorch with and without oneDNN
# too: a unit that is just above zero in one and just below in the other changes the gradients of all layers before it.
NETWORK = Network((32, 32, 3), layers, batch=64, loss="classes", text="ResNet-20, 32x32x3", learning_rate=1e-5)
CUDA = Network((224, 224, 3), large, batch=32, loss="classes", text="like ResNet-50, 224x224x3", learning_rate=1e-5)
