"""Random numbers: one counter-based generator, the same numbers on the CPU and on CUDA.

Word n of the stream `(seed, stream)` is a pure function of the three (Philox4x64-10, Salmon et al., "Parallel random
numbers: as easy as 1, 2, 3", SC 2011). NumPy's own Philox computes the words on the CPU, a kernel of ours on CUDA;
all that is made of the words is one code for both devices.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy

from ..errors import message
from ..state import state
from .devices import Array, Device, chosen_device
from .dtypes import as_dtype

_KERNEL = r"""
typedef unsigned long long Word;

struct Block { Word at[4]; };

// A block of the stream. A graph reads what it begins with at `place` in device memory.
__device__ Block philox(long long block, Word seed, Word stream, Word offset, const Word* place, int keyed) {
    if (place) {
        if (!keyed) { seed = place[0]; stream = place[1]; }
        offset += place[2];
    }
    Word c0 = offset + block + 1, c1 = c0 <= (Word)block, c2 = 0, c3 = 0;
    Word k0 = seed, k1 = stream;
    for (int round = 0; round < 10; ++round) {
        Word h0 = __umul64hi(0xD2E7470EE14C6C93ULL, c0), l0 = 0xD2E7470EE14C6C93ULL * c0;
        Word h1 = __umul64hi(0xCA5A826395121157ULL, c2), l1 = 0xCA5A826395121157ULL * c2;
        c0 = h1 ^ c1 ^ k0; c1 = l1; c2 = h0 ^ c3 ^ k1; c3 = l0;
        k0 += 0x9E3779B97F4A7C15ULL; k1 += 0xBB67AE8584CAA73BULL;
    }
    return {{c0, c1, c2, c3}};
}

#define BEGIN Word seed, Word stream, Word offset, const Word* place, int keyed

extern "C" __global__ void words(Word* made, long long blocks, BEGIN) {
    const long long block = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (block >= blocks) return;
    const Block found = philox(block, seed, stream, offset, place, keyed);
    for (int i = 0; i < 4; ++i) made[4 * block + i] = found.at[i];
}

// 0 where the 32 bits of an element are below `least`, else `factor`.
template <typename T> __device__ void keep(T* made, long long size, unsigned least, double factor, BEGIN) {
    const long long block = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (8 * block >= size) return;
    const Block found = philox(block, seed, stream, offset, place, keyed);
    for (int i = 0; i < 8; ++i)
        if (8 * block + i < size)
            made[8 * block + i] = (unsigned)(found.at[i / 2] >> i % 2 * 32) >= least ? (T)factor : (T)0;
}

#define KEEP(name, T)                                                                                    \
    extern "C" __global__ void name(T* made, long long size, unsigned least, double factor, BEGIN) {      \
        keep(made, size, least, factor, seed, stream, offset, place, keyed);                              \
    }
KEEP(keep_float32, float)
KEEP(keep_float64, double)
"""
"""No race: each thread writes a block of its own."""


@functools.cache
def _cuda_kernel(name: str) -> Any:
    import cupy

    return cupy.RawKernel(_KERNEL, name)


class _Begin(NamedTuple):
    """Where random numbers begin: at block `offset` of the stream `(seed, stream)`.

    On CUDA `place` may be the address of a state, (seed, stream, offset), that is read when the kernel runs: `offset`
    counts from there, and unless `keyed` seed and stream are those.
    """

    seed: int
    stream: int
    offset: int
    place: int = 0
    keyed: bool = False

    def launch(self, kernel: str, blocks: int, *given: Any) -> None:
        """Starts a kernel with a thread for each block of four words."""
        numbers = map(numpy.uint64, self[:4])
        _cuda_kernel(kernel)((-(-blocks // 128),), (128,), (*given, *numbers, numpy.int32(self.keyed)))


def philox_words(blocks: int, seed: int, stream: int, offset: int, target: Device) -> Array:
    """`4 * blocks` words (uint64) of the stream, from block `offset` on."""
    return _words(blocks, _Begin(seed, stream, offset), target)


def _words(blocks: int, begin: _Begin, target: Device) -> Array:
    if target.kind == "cpu":
        # as uint64 from the start: NumPy takes a list with one large and one small number through float64
        seed, stream, offset, *_ = begin
        key, counter = (numpy.array(n, dtype=numpy.uint64) for n in ([seed, stream], [offset, 0, 0, 0]))
        return numpy.random.Philox(key=key, counter=counter).random_raw(4 * blocks)
    with target.active():
        made = target.xp.empty(4 * blocks, dtype=numpy.uint64)
        begin.launch("words", blocks, made, numpy.int64(blocks))
    return made


def check_word(where: str, name: str, value: Any) -> int:
    """`value` as an int, if it is an integer of 64 bits that is not negative; else ValueError is raised."""
    if isinstance(value, bool) or not isinstance(value, (int, numpy.integer)) or not 0 <= value < 2**64:
        raise ValueError(message(where, f"{name} to be an integer from 0 to 2**64 - 1", repr(value)))
    return int(value)


KEYED = 1
"""The number of the streams from which `Generator.keyed` draws; that of `tg.seed` is 0."""


class Generator:
    """A stream of random numbers: a seed, the number of the stream, and the offset where the next draw begins.

    Each draw takes whole blocks of four 64-bit words, so draws do not depend on the shapes of earlier ones beyond
    their sizes. Safe to share between threads. All numbers have the dtype that is asked for but the same values in
    each: floating draws are made of 24 random bits.

    >>> import tinygrad_edu as tg
    >>> generator = tg.Generator(seed=7)
    >>> state = generator.state
    >>> first = generator.uniform((2,), device="cpu")
    >>> generator.state = state
    >>> bool((generator.uniform((2,), device="cpu") == first).all())
    True
    """

    def __init__(self, seed: int = 0, stream: int = 0):
        self._lock = threading.Lock()
        self._state = (0, 0, 0)
        self._replayed = threading.local()  # holds a state in a thread inside `replay`, a key inside `keyed`
        self.state = (seed, stream, 0)

    @property
    def state(self) -> tuple[int, int, int]:
        """(seed, stream, offset); set it to draw the same numbers again."""
        return getattr(self._replayed, "state", None) or self._state

    @state.setter
    def state(self, value: tuple[int, int, int]) -> None:
        if state.trace is not None:
            expected = "no new seed or state of random numbers"
            state.trace.forbid(expected, "one", "set it before the call of the jitted function.")
        names = ("seed", "stream", "offset")
        if not isinstance(value, (tuple, list)) or len(value) != len(names):
            raise ValueError(message("Generator", "a state (seed, stream, offset)", repr(value)))
        seed, stream, offset = (check_word("Generator", *named) for named in zip(names, value, strict=True))
        self._go_to((seed, stream, offset))

    def _go_to(self, place: tuple[int, int, int]) -> None:
        if getattr(self._replayed, "state", None):
            self._replayed.state = place
        else:
            self._state = place

    @contextmanager
    def replay(self, place: tuple[int, int, int]) -> Iterator[None]:
        """Draws from that state on in this thread, in a `with` block; others see nothing of it."""
        outer = getattr(self._replayed, "state", None)
        self._replayed.state = place
        try:
            yield
        finally:
            self._replayed.state = outer

    @contextmanager
    def keyed(self, seed: int | None) -> Iterator[None]:
        """Draws of this thread, in a `with` block, do not depend on this generator's seed but on the one given: they
        come from the stream `(seed, KEYED)`, from this generator's offset on, which they advance. So they are the same
        after `tg.seed(0)` as after `tg.seed(1)`, if as much was drawn since. In nested blocks the inner seed holds;
        None changes nothing.

        >>> import tinygrad_edu as tg
        >>> generator = tg.Generator(seed=0)
        >>> with generator.keyed(7):
        ...     first = generator.uniform((2,), device="cpu")
        >>> generator.state = (1, 0, 0)
        >>> with generator.keyed(7):
        ...     bool((generator.uniform((2,), device="cpu") == first).all())
        True
        """
        outer = getattr(self._replayed, "key", None)
        self._replayed.key = outer if seed is None else (check_word("Generator", "seed", seed), KEYED)
        try:
            yield
        finally:
            self._replayed.key = outer

    @contextmanager
    def in_graph(self, place: int) -> Iterator[None]:
        """Draws of this thread on CUDA, in a `with` block, begin where the state at that address of device memory says
        when they run, and those that follow each other in the block do so there too. This generator stays as it is.
        """
        with self.replay(self.state):
            self._replayed.place = place, self.state[2]
            try:
                yield
            finally:
                self._replayed.place = None

    def skip(self, blocks: int) -> tuple[int, int, int]:
        """Goes on by so many blocks of four words, and returns the state before."""
        with self._lock:
            seed, stream, offset = self.state
            self._go_to((seed, stream, offset + blocks))
        return seed, stream, offset

    def _begin(self, blocks: int) -> _Begin:
        """Where so many blocks begin that are drawn now."""
        if state.trace is not None:
            expected = "draws by tg.uniform, tg.normal and their like"
            state.trace.forbid(expected, "one by a Generator", "draw before the call and pass the numbers.")
        seed, stream, offset = self.skip(blocks)
        key = getattr(self._replayed, "key", None)
        seed, stream = key or (seed, stream)
        place, first = getattr(self._replayed, "place", None) or (0, 0)
        return _Begin(seed, stream, offset - first, place, key is not None)

    def words(self, count: int, device: Device) -> Array:
        """At least `count` words (uint64, a multiple of four of them)."""
        blocks = -(-count // 4)
        return _words(blocks, self._begin(blocks), device)

    def bits(self, shape: tuple[int, ...], device: str | Device | None = None) -> Array:
        """Random 32-bit words, uint32."""
        size = math.prod(shape)
        return self.words(-(-size // 2), chosen_device(device)).view(numpy.uint32)[:size].reshape(shape)

    def kept(self, shape: tuple[int, ...], rate: float, dtype: Any, device: Device) -> Array:
        """0 with probability `rate`, else 1 / (1 - rate)."""
        dtype, least, factor = numpy.dtype(dtype), int(rate * 2**24) << 8, 1.0 / (1.0 - rate)
        if device.kind == "cpu" or dtype.char not in "fd":
            return (self.bits(shape, device) >= numpy.uint32(least)).astype(dtype) * dtype.type(factor)
        made = device.xp.empty(shape, dtype)
        if blocks := -(-made.size // 8):
            given = numpy.int64(made.size), numpy.uint32(least), numpy.float64(factor)
            self._begin(blocks).launch(f"keep_{dtype.name}", blocks, made, *given)
        return made

    def uniform(
        self,
        shape: tuple[int, ...],
        low: float = 0.0,
        high: float = 1.0,
        dtype: Any = None,
        device: str | Device | None = None,
    ) -> Array:
        """Multiples of 2**-24 in [0, 1), scaled to [low, high). Raises ValueError unless low <= high."""
        if not low <= high:
            raise ValueError(message("uniform", "low <= high", f"low={low}, high={high}"))
        dtype, target = _floating("uniform", dtype), chosen_device(device)
        below = numpy.nextafter(dtype.type(high), dtype.type(low))  # rounding may reach `high`
        with target.active():
            unit = (self.bits(shape, target) >> 8).astype(numpy.float32)
            unit *= 2.0**-24
            return target.xp.minimum(unit.astype(dtype, copy=False) * (high - low) + low, float(below))

    def normal(
        self,
        shape: tuple[int, ...],
        mean: float = 0.0,
        std: float = 1.0,
        dtype: Any = None,
        device: str | Device | None = None,
    ) -> Array:
        """Normal numbers by the method of Box and Muller (1958), computed in float64; none is further out than 5.8
        std."""
        dtype, target = _floating("normal", dtype), chosen_device(device)
        size, xp = math.prod(shape), target.xp
        with target.active():
            pairs = self.bits((2, -(-size // 2)), target) >> 8
            radius = xp.sqrt(-2.0 * xp.log((pairs[0] + 1.0) * 2.0**-24))
            angle = pairs[1] * (2.0 * math.pi * 2.0**-24)
            both = xp.concatenate([radius * xp.cos(angle), radius * xp.sin(angle)])[:size].reshape(shape)
            return (both * std + mean).astype(dtype)

    def integers(self, shape: tuple[int, ...], low: int, high: int, device: str | Device | None = None) -> Array:
        """Integers (int64) in [low, high); the bias is below (high - low) / 2**64."""
        for bound in (low, high):
            if not isinstance(bound, (int, numpy.integer)):
                raise TypeError(message("integers", "bounds that are integers", repr(bound)))
        low, high = int(low), int(high)
        if not -(2**63) <= low < high < 2**63:
            raise ValueError(message("integers", "low < high, both in the range of int64", f"low={low}, high={high}"))
        size, target = math.prod(shape), chosen_device(device)
        with target.active():
            words = self.words(size, target)[:size].reshape(shape)
            return (words % numpy.uint64(high - low)).astype(numpy.int64) + low

    def permutation(self, count: int, device: str | Device | None = None) -> Array:
        """The integers below `count` (int64) in random order."""
        target = chosen_device(device)
        with target.active():
            return self.words(count, target)[:count].argsort(kind="stable").astype(numpy.int64)


def _floating(where: str, dtype: Any) -> numpy.dtype[Any]:
    return state.dtype if dtype is None else as_dtype(where, dtype, floating=True)


default_generator = Generator()
"""Where every draw of the package comes from, in all threads. It starts at seed 0, so that a program that sets no seed
is repeatable too."""


def seed(value: int) -> None:
    """Starts the package's random numbers anew: initial weights, dropout, shuffling, on every device.

    >>> import tinygrad_edu as tg
    >>> tg.seed(3); first = tg.normal((2,))
    >>> tg.seed(3); bool((tg.normal((2,)) == first).all())
    True
    """
    default_generator.state = Generator(value).state
