"""LLVM code of the floating functions, as polynomials in plain arithmetic, which LLVM turns into vector instructions.

Largest relative errors, with and without fused multiply-add (of float32 over a sample of all its numbers, of float64
over random ones). Where a result is denormal, the error is below one unit of the smallest number.

            exp       expm1     log       log1p     tanh      erf
    float32 1.0e-7    1.3e-7    0.9e-7    0.9e-7    1.9e-7    0.9e-7
    float64 2.0e-16   2.5e-16   2.0e-16   2.0e-16   3.5e-16   2.0e-16

Zeros keep their sign, infinities and NaN go where NumPy sends them, and denormal numbers are neither read nor written
as 0. The coefficients are minimax fits (Remez) over the ranges that `Format` names.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass


def number(value: float, type: str) -> str:
    """A float or double as LLVM writes it: the bits of a double.

    >>> number(1.0, "float")
    '0x3FF0000000000000'
    """
    if type == "float" and abs(value) != float("inf"):
        (value,) = struct.unpack("f", struct.pack("f", value))
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


class Code:
    """The lines of one function, fresh names for its values, and what it has to declare."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.declared: dict[str, None] = {}
        self.names = itertools.count()

    def add(self, line: str) -> None:
        self.lines.append("  " + line)

    def value(self, instruction: str) -> str:
        name = f"%v{next(self.names)}"
        self.add(f"{name} = {instruction}")
        return name

    def call(self, function: str, type: str, *args: str, flags: str = "") -> str:
        """An intrinsic of that type, all of whose `args` have it (but for those written with their own)."""
        typed = [arg if " " in arg else f"{type} {arg}" for arg in args]
        suffix = {"float": "f32", "double": "f64"}.get(type, type)
        kinds = ", ".join(arg.split()[0] for arg in typed)
        self.declared[f"declare {type} @llvm.{function}.{suffix}({kinds})"] = None
        return self.value(f"call {flags} {type} @llvm.{function}.{suffix}({', '.join(typed)})")

    def label(self, name: str) -> None:
        self.add(f"br label %{name}")
        self.lines.append(f"{name}:")


# Functions as polynomials


@dataclass(frozen=True)
class Format:
    """A floating type: its bits, the constants that its functions need, and the coefficients of their polynomials,
    highest power first."""

    type: str
    integer: str
    mantissa: int
    bias: int
    ln2: tuple[float, float]  # in two parts; the product of the first with a power of two's exponent is exact
    exp_range: tuple[float, float]  # exp is 0 and inf beyond
    expm1_low: float  # expm1 is -1 below
    erf_high: float  # erf is 1 above
    least: float  # the smallest normal number
    root_half: int  # the bits of sqrt(0.5)
    exp: tuple[float, ...]  # (exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2
    log: tuple[float, ...]  # (log((1 + s) / (1 - s)) - 2 s) / s^3 of s^2
    erf: tuple[float, ...]  # erf(x) / x - 1 of x^2 for |x| <= 1
    erfc: tuple[float, ...]  # log(erfc(x)) for x >= 1

    @property
    def magic(self) -> float:
        """Adding it rounds a number to a whole one, whose bits are then the lowest bits of the sum."""
        return 1.5 * 2.0**self.mantissa


FORMATS = {
    "float": Format(
        type="float",
        integer="i32",
        mantissa=23,
        bias=127,
        ln2=(0.693359375, -2.1219444005469057e-4),
        exp_range=(-104.0, 89.0),
        expm1_low=-20.0,
        erf_high=4.0,
        least=2.0**-126,
        root_half=0x3F3504F3,
        exp=(0.00139464984, 0.00836661059, 0.0416662814, 0.166665428, 0.500000006),
        log=(0.23582642, 0.285372842, 0.400003355, 0.666666656),
        erf=(
            *(7.85386078e-05, -0.000801019345, 0.00518832766, -0.0268538119),
            *(0.112835851, -0.376126258, 0.128379166),
        ),
        erfc=(
            *(0.000187604566, -0.00296011202, 0.0218896342, -0.103218187),
            *(-0.638012234, -1.12717164, -0.000320576336),
        ),
    ),
    "double": Format(
        type="double",
        integer="i64",
        mantissa=52,
        bias=1023,
        ln2=(6.93147180369123816490e-01, 1.90821492927058770002e-10),
        exp_range=(-746.0, 710.0),
        expm1_low=-40.0,
        erf_high=6.0,
        least=2.0**-1022,
        root_half=0x3FE6A09E667F3BCD,
        exp=(
            *(2.511451863921791e-08, 2.7626382193544276e-07, 2.755722782263366e-06, 2.4801504312199696e-05),
            *(0.00019841269903160926, 0.0013888888932484201, 0.008333333333314541, 0.04166666666657332),
            *(0.16666666666666685, 0.5000000000000006),
        ),
        log=(
            *(0.14796488279779588, 0.15313999650224389, 0.18183566196098458, 0.22222198539624813),
            *(0.2857142874268961, 0.39999999999413444, 0.6666666666666735),
        ),
        erf=(
            *(5.945260200617797e-11, -1.136566502864451e-09, 1.4657879597306717e-08, -1.6350025185895177e-07),
            *(1.646097281353705e-06, -1.4925593506671345e-05, 0.0001205533103689036, -0.000854832697874194),
            *(0.005223977624780862, -0.026866170645072893, 0.11283791670954857, -0.3761263890318375),
            0.1283791670955126,
        ),
        erfc=(
            *(-4.897662137568625e-12, 2.0565258820406347e-10, -3.99606778770361e-09, 4.754335495952145e-08),
            *(-3.8503099322227447e-07, 2.2179680169033795e-06, -9.082132968648674e-06, 2.438533652019302e-05),
            *(-2.47611329374485e-05, -0.00012506187396029738, 0.0007534155159646164, -0.0018929434430972518),
            *(0.0003870954820351586, 0.01900827776319549, -0.10271355995069652, -0.6366397460103922),
            *(-1.128375002578896, -4.0359308116336617e-07),
        ),
    ),
}
LOG2_E = 1.4426950408889634


class Real:
    """A floating value in the code; arithmetic on it appends instructions. Products and sums may be contracted."""

    def __init__(self, code: Code, name: str, format: Format):
        self.code, self.name, self.format = code, name, format

    def of(self, name: str) -> Real:
        return Real(self.code, name, self.format)

    def text(self, other: Real | float) -> str:
        return other.name if isinstance(other, Real) else number(other, self.format.type)

    def _arithmetic(self, op: str, a: Real | float, b: Real | float) -> Real:
        return self.of(self.code.value(f"{op} contract {self.format.type} {self.text(a)}, {self.text(b)}"))

    def __add__(self, other: Real | float) -> Real:
        return self._arithmetic("fadd", self, other)

    def __sub__(self, other: Real | float) -> Real:
        return self._arithmetic("fsub", self, other)

    def __rsub__(self, other: float) -> Real:
        return self._arithmetic("fsub", other, self)

    def __mul__(self, other: Real | float) -> Real:
        return self._arithmetic("fmul", self, other)

    def __truediv__(self, other: Real | float) -> Real:
        return self._arithmetic("fdiv", self, other)

    def __abs__(self) -> Real:
        return self.of(self.code.call("fabs", self.format.type, self.name))

    def is_(self, relation: str, other: Real | float) -> str:
        """The comparison as an i1: `olt`, `oeq`, ... (never true of NaN), `une`."""
        return self.code.value(f"fcmp {relation} {self.format.type} {self.name}, {self.text(other)}")

    def if_(self, condition: str, other: Real | float) -> Real:
        """This where the condition holds, else the other."""
        type = self.format.type
        return self.of(self.code.value(f"select i1 {condition}, {type} {self.name}, {type} {self.text(other)}"))

    def at_least(self, low: float) -> Real:
        """The larger of the two; NaN stays NaN."""
        return self.constant(low).if_(self.is_("olt", low), self)

    def at_most(self, high: float) -> Real:
        return self.constant(high).if_(self.is_("ogt", high), self)

    def constant(self, value: float) -> Real:
        return self.of(number(value, self.format.type))

    def signed(self, other: Real) -> Real:
        """This with the sign of the other."""
        return self.of(self.code.call("copysign", self.format.type, self.name, other.name))

    def bits(self) -> str:
        return self.code.value(f"bitcast {self.format.type} {self.name} to {self.format.integer}")

    def from_bits(self, bits: str) -> Real:
        return self.of(self.code.value(f"bitcast {self.format.integer} {bits} to {self.format.type}"))

    def integer(self, op: str, a: str, b: int) -> str:
        return self.code.value(f"{op} {self.format.integer} {a}, {b}")

    def rounded(self) -> Real:
        return self + self.format.magic - self.format.magic

    def two_to(self) -> Real:
        """2^n, if this is a whole number n for which that is a normal number, 0 or inf."""
        bits = self.integer("add", (self + self.format.magic).bits(), self.format.bias)
        return self.from_bits(self.integer("shl", bits, self.format.mantissa))

    def polynomial(self, coefficients: tuple[float, ...]) -> Real:
        value = self * coefficients[0] + coefficients[1]
        for coefficient in coefficients[2:]:
            value = value * self + coefficient
        return value


def _reduce(x: Real) -> tuple[Real, Real]:
    """A whole number n and exp(r) - 1, so that x = n log(2) + r."""
    high, low = x.format.ln2
    n = (x * LOG2_E).rounded()
    r = x - n * high - n * low
    return n, r + (r * r) * r.polynomial(x.format.exp)


def _exp(x: Real) -> Real:
    n, q = _reduce(x.at_least(x.format.exp_range[0]).at_most(x.format.exp_range[1]))
    half = (n * 0.5).rounded()  # 2^n alone may be out of range where the result is not
    return (q + 1.0) * half.two_to() * (n - half).two_to()


def _expm1(x: Real) -> Real:
    n, q = _reduce(x.at_least(x.format.expm1_low).at_most(x.format.exp_range[1]))
    half = (n * 0.5).rounded()
    rest = n - half
    scale = half.two_to()
    return ((q * scale + (scale - (0.0 - rest).two_to())) * rest.two_to()).signed(x)


def _tanh(x: Real) -> Real:
    n, q = _reduce((abs(x) * -2.0).at_least(x.format.expm1_low))
    scale = n.two_to()
    t = q * scale + (scale - 1.0)  # expm1(-2 |x|)
    return (t / (t + 2.0)).signed(x)


def _logarithm(x: Real, correction: Real | None) -> Real:
    """log(x), or log(x + correction) for a correction that is tiny beside x."""
    f = x.format
    y, shift = x, None
    if correction is None:
        tiny = x.is_("olt", f.least)
        y = (x * 2.0**f.mantissa).if_(tiny, x)
        shift = x.constant(float(f.mantissa)).if_(tiny, 0.0)
    # y = m 2^n with m from sqrt(0.5) to sqrt(2), by its bits
    bits = x.integer("add", y.bits(), (f.bias << f.mantissa) - f.root_half)
    fraction = x.integer("and", bits, (1 << f.mantissa) - 1)
    m = x.from_bits(x.integer("add", fraction, f.root_half))
    exponent = x.integer("or", x.integer("lshr", bits, f.mantissa), (f.mantissa + f.bias) << f.mantissa)
    n = x.from_bits(exponent) - (2.0**f.mantissa + f.bias)
    if shift:
        n = n - shift
    a = m - 1.0
    s = a / (a + 2.0)
    square = a * a * 0.5
    small = n * f.ln2[1]
    if correction:
        small = small + correction / x
    z = s * s
    y = n * f.ln2[0] - ((square - (s * (square + z * z.polynomial(f.log)) + small)) - a)
    y = y.if_(x.is_("olt", float("inf")), x)
    return y.if_(x.is_("ogt", 0.0), x.constant(float("-inf")).if_(x.is_("oeq", 0.0), float("nan")))


def _log(x: Real) -> Real:
    return _logarithm(x, None)


def _log1p(x: Real) -> Real:
    y = x + 1.0
    return _logarithm(y, x - (y - 1.0)).signed(x)


def _erf(x: Real) -> Real:
    small = x * (x * x).polynomial(x.format.erf) + x
    t = abs(x).at_most(x.format.erf_high)
    n, q = _reduce(t.polynomial(x.format.erfc))
    scale = n.two_to()
    return small.if_(t.is_("olt", 1.0), (1.0 - (q * scale + scale)).signed(x))


POLYNOMIALS: dict[str, Callable[[Real], Real]] = {
    "exp": _exp,
    "expm1": _expm1,
    "log": _log,
    "log1p": _log1p,
    "tanh": _tanh,
    "erf": _erf,
}
