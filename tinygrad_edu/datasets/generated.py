"""Data sets that are computed: the same for the same arguments, as long as NumPy draws the same numbers of a seed.

Each is an object with `load_data(samples=..., noise=..., test_fraction=0.2, seed=0)`, which returns `(x_train,
y_train), (x_test, y_test)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import check_integer, check_number, message
from .splits import Split, split, stratified_split


def _checked(samples: Any, noise: Any, least: int = 4) -> None:
    check_integer("load_data", "samples", samples, least)
    check_number("load_data", "noise", noise, "of at least 0", lambda v: v >= 0)


def _on_circle(angles: Any) -> Any:
    """The points of the unit circle at these angles, (n, 2)."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


class Points:
    """Points in the plane with classes: float32 x (samples, 2), int64 y (samples,); `noise` is the standard deviation
    of what is added to each coordinate."""

    def _load(self, points: Any, classes: Any, noise: float, test_fraction: float, seed: int) -> Split:
        random = np.random.default_rng([check_integer("load_data", "seed", seed, 0), 1])
        points = points + noise * random.normal(size=points.shape)
        return stratified_split(points.astype(np.float32), np.asarray(classes, np.int64), test_fraction, seed)


class Moons(Points):
    """Two half circles of radius 1 that reach into each other.

    >>> import tinygrad_edu as tg
    >>> (x_train, y_train), (x_test, y_test) = tg.datasets.moons.load_data(samples=500, noise=0.2)
    >>> x_train.shape, x_test.shape
    ((400, 2), (100, 2))
    """

    def load_data(self, samples: int = 1000, noise: float = 0.1, test_fraction: float = 0.2, seed: int = 0) -> Split:
        _checked(samples, noise)
        angles = [np.linspace(0.0, np.pi, count) for count in (samples // 2, samples - samples // 2)]
        upper, lower = _on_circle(angles[0]), [1.0, 0.5] - _on_circle(angles[1])
        return self._load(
            np.concatenate([upper, lower]), np.repeat([0, 1], [len(upper), len(lower)]), noise, test_fraction, seed
        )


class Circles(Points):
    """A circle of radius 1 (class 0) around one of radius `factor` (class 1)."""

    def load_data(
        self,
        samples: int = 1000,
        noise: float = 0.05,
        factor: float = 0.5,
        test_fraction: float = 0.2,
        seed: int = 0,
    ) -> Split:
        _checked(samples, noise)
        factor = check_number("load_data", "factor", factor, "in [0, 1)", lambda v: 0 <= v < 1)
        counts = samples // 2, samples - samples // 2
        angles = np.concatenate([np.linspace(0.0, 2.0 * np.pi, count, endpoint=False) for count in counts])
        radii = np.repeat([1.0, factor], counts)
        points = radii[:, None] * _on_circle(angles)
        return self._load(points, np.repeat([0, 1], counts), noise, test_fraction, seed)


class Blobs(Points):
    """Clouds of normally distributed points, of the standard deviation `noise`, around as many centers as `classes`,
    which lie evenly on a circle of radius 5."""

    def load_data(
        self,
        samples: int = 1000,
        noise: float = 1.0,
        classes: int = 3,
        test_fraction: float = 0.2,
        seed: int = 0,
    ) -> Split:
        classes = check_integer("load_data", "classes", classes, 2)
        _checked(samples, noise, 2 * classes)
        labels = np.arange(samples) % classes
        angles = 2.0 * np.pi * labels / classes
        points = 5.0 * _on_circle(angles)
        return self._load(points, labels, noise, test_fraction, seed)


class Spirals(Points):
    """Arms that wind `turns` times around the origin, one for each class, from the radius 0 to 1."""

    def load_data(
        self,
        samples: int = 1000,
        noise: float = 0.02,
        classes: int = 2,
        turns: float = 1.0,
        test_fraction: float = 0.2,
        seed: int = 0,
    ) -> Split:
        classes = check_integer("load_data", "classes", classes, 2)
        turns = check_number("load_data", "turns", turns, "above 0", lambda v: v > 0)
        _checked(samples, noise, 2 * classes)
        labels, place = np.arange(samples) % classes, np.arange(samples) // classes
        radii = (place + 1) / (samples // classes + 1)
        angles = 2.0 * np.pi * (turns * radii + labels / classes)
        points = radii[:, None] * _on_circle(angles)
        return self._load(points, labels, noise, test_fraction, seed)


class XOR(Points):
    """Points in the square from -1 to 1; class 1 where the signs of the coordinates differ, before the noise."""

    def load_data(self, samples: int = 1000, noise: float = 0.0, test_fraction: float = 0.2, seed: int = 0) -> Split:
        _checked(samples, noise, 16)
        points = np.random.default_rng([check_integer("load_data", "seed", seed, 0), 0]).uniform(-1, 1, (samples, 2))
        return self._load(points, (points[:, 0] > 0) != (points[:, 1] > 0), noise, test_fraction, seed)


class SineWaves:
    """Series to be continued: each is the sum of two sine waves of random frequencies and phases, of the amplitudes 1
    and 0.5, and of normal noise. After `steps` numbers the next ones are the target.

    >>> import tinygrad_edu as tg
    >>> (x_train, y_train), _ = tg.datasets.sine_waves.load_data(samples=100, steps=20)
    >>> x_train.shape, y_train.shape
    ((80, 20, 1), (80, 1))
    """

    def load_data(
        self,
        samples: int = 1000,
        noise: float = 0.05,
        steps: int = 50,
        horizon: int = 1,
        test_fraction: float = 0.2,
        seed: int = 0,
    ) -> Split:
        """float32 x (samples, steps, 1) and the numbers that follow, y (samples, horizon)."""
        _checked(samples, noise)
        steps, horizon = (
            check_integer("load_data", "steps", steps, 1),
            check_integer("load_data", "horizon", horizon, 1),
        )
        random = np.random.default_rng(check_integer("load_data", "seed", seed, 0))
        frequencies = random.uniform([[[0.02]], [[0.05]]], [[[0.05]], [[0.15]]], (2, samples, 1))  # waves per step
        phases = random.uniform(0.0, 1.0, (2, samples, 1))
        waves = np.sin(2.0 * np.pi * (frequencies * np.arange(steps + horizon) + phases))
        series = waves[0] + 0.5 * waves[1] + noise * random.normal(size=waves[0].shape)
        series = series.astype(np.float32)
        return split(series[:, :steps, None], series[:, steps:], test_fraction, seed)


class Ratings:
    """Ratings of items by users, for recommendations: whole stars from 1 to 5.

    They are 3 + u . v for factors u of the user and v of the item, drawn from a normal distribution, with normal noise,
    rounded and cut off. A share of all pairs is rated, each once. `bias` is the standard deviation of a number per user
    and a number per item that are added: how generous the one is, and how good the other.
    """

    def load_data(
        self,
        users: int = 300,
        items: int = 200,
        noise: float = 0.3,
        rank: int = 3,
        density: float = 0.2,
        bias: float = 0.0,
        test_fraction: float = 0.2,
        seed: int = 0,
    ) -> Split:
        """int64 x (n, 2), the numbers of a user and an item, and float32 y (n,), the stars."""
        users, items, rank = (
            check_integer("load_data", name, value, 1)
            for name, value in (("users", users), ("items", items), ("rank", rank))
        )
        density = check_number("load_data", "density", density, "in (0, 1]", lambda v: 0 < v <= 1)
        bias = check_number("load_data", "bias", bias, "of at least 0", lambda v: v >= 0)
        count = round(density * users * items)
        if count < 2:
            found = f"{density:g} of {users} x {items}"
            raise ValueError(message("load_data", "density to leave at least two ratings", found))
        _checked(count, noise, 2)
        random = np.random.default_rng(check_integer("load_data", "seed", seed, 0))
        factors = [random.normal(scale=rank**-0.25, size=(n, rank)) for n in (users, items)]
        pairs = np.stack(np.divmod(random.choice(users * items, count, replace=False), items), axis=1)
        scores = 3.0 + (factors[0][pairs[:, 0]] * factors[1][pairs[:, 1]]).sum(axis=1)
        scores += noise * random.normal(size=count)
        user_bias, item_bias = (bias * random.normal(size=n) for n in (users, items))
        stars = np.clip(np.rint(scores + user_bias[pairs[:, 0]] + item_bias[pairs[:, 1]]), 1.0, 5.0)
        return split(pairs, stars.astype(np.float32), test_fraction, seed)


moons, circles, blobs, spirals, xor = Moons(), Circles(), Blobs(), Spirals(), XOR()
sine_waves, ratings = SineWaves(), Ratings()
