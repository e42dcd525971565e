"""Recommendations by matrix factorization, and by neural collaborative filtering.

Matrix factorization gives each user and each item a vector of tastes, and predicts a rating by their product, beside a
bias for generous users and good items (Koren, Bell and Volinsky, "Matrix Factorization Techniques for Recommender
Systems", 2009). Neural collaborative filtering adds a network that may combine the vectors in other ways (He et al.,
"Neural Collaborative Filtering", 2017). Both are compared with the biases alone on ratings held out:

    RMSE            how far the predicted stars are from those given
    hit rate, NDCG  for each user one item of 5 stars is hidden among 99 that the user has not rated (He et al.). It is
                    a hit if it comes among the first 10; NDCG counts a hit the more, the nearer to the top it is. No
                    method hits always, for some of the 99 would please the user too.

Try: `movielens_100k.load_data()`, real ratings in the same form; vectors of other lengths; the penalty of `tastes`.
"""

import numpy as np

from tinygrad_edu import callbacks, initializers, layers, models, optimizers, regularizers, viz
from tinygrad_edu.cli import run
from tinygrad_edu.data import train_test_split
from tinygrad_edu.datasets import ratings


def biases(x, y, users, items, shrinkage, rounds=10):
    """All ratings (users, items) as a mean, a number per user and one per item: the means of what the others leave.

    They are taken as if each user and item had, besides, so many ratings that are just average as `shrinkage` says.
    """
    user, item = x.T
    user_bias, item_bias = np.zeros(users), np.zeros(items)
    for _ in range(rounds):
        left = y - y.mean() - user_bias[user]
        item_bias = np.bincount(item, left, items) / (shrinkage + np.bincount(item, minlength=items))
        left = y - y.mean() - item_bias[item]
        user_bias = np.bincount(user, left, users) / (shrinkage + np.bincount(user, minlength=users))
    return y.mean() + user_bias[:, None] + item_bias


def tastes(ids, count, length, name=None):
    """A vector for each user or item. The penalty keeps those near 0 about which the ratings say little."""
    start, penalty = initializers.RandomNormal(stddev=0.1), regularizers.L2(1e-4)
    return layers.Embedding(count, length, embeddings_initializer=start, embeddings_regularizer=penalty, name=name)(ids)


def matrix_factorization(users, items):
    pair = layers.Input((2,), dtype="int64")
    user, item = pair[:, 0], pair[:, 1]
    taste = layers.Dot(axes=1)([tastes(user, users, 8, "user"), tastes(item, items, 8, "item")])
    return models.Model(pair, layers.Add()([tastes(user, users, 1), tastes(item, items, 1), taste]))


def neural_collaborative_filtering(users, items):
    pair = layers.Input((2,), dtype="int64")
    user, item = pair[:, 0], pair[:, 1]
    products = layers.Multiply()([tastes(user, users, 8), tastes(item, items, 8)])
    hidden = layers.Concatenate()([tastes(user, users, 8), tastes(item, items, 8)])
    hidden = layers.Dense(32, activation="relu")(hidden)
    hidden = layers.Dense(16, activation="relu")(hidden)
    return models.Model(pair, layers.Dense(1)(layers.Concatenate()([products, hidden])))


def train(model, train_data, validation_data, users, items):
    """All ratings (users, items) that the model predicts, as it was when it did best on the validation data."""
    (x, y), (x_val, y_val) = train_data, validation_data
    mean = y.mean()
    model.compile(optimizers.Adam(0.01), loss="mse", metrics=["root_mean_squared_error"])
    stop = callbacks.EarlyStopping("val_root_mean_squared_error", patience=5, restore_best_weights=True)
    history = model.fit(
        x, y - mean, batch_size=128, epochs=50, validation_data=(x_val, y_val - mean), callbacks=[stop], verbose=0
    )
    for epoch, error in enumerate(history.history["val_root_mean_squared_error"], start=1):
        if epoch in (1, 2, 4, 8) or epoch == len(history.epoch):
            print(f"  epoch {epoch:2}: validation RMSE {error:.3f}")
    every_pair = np.indices((users, items)).reshape(2, -1).T
    return mean + model.predict(every_pair, batch_size=10_000, verbose=0).reshape(users, items)


def rmse(predicted, x, y):
    return np.sqrt(np.mean((predicted[x[:, 0], x[:, 1]] - y) ** 2))


def hidden_favourites(x_test, y_test, rated, random):
    """Users, for each the item of 5 stars that is hidden, and 99 that the user has not rated."""
    users, first = np.unique(x_test[y_test == 5, 0], return_index=True)
    favourites = x_test[y_test == 5, 1][first]
    others = [random.choice(np.flatnonzero(~rated[user]), 99, replace=False) for user in users]
    return users, favourites, np.array(others)


def top_n(scores, users, favourites, others, n=10):
    """The hit rate and NDCG of the first `n`."""
    favourite, other = scores[users, favourites][:, None], scores[users[:, None], others]
    ahead = (other > favourite).sum(axis=1) + 0.5 * (other == favourite).sum(axis=1)  # of equal ones, half
    hit = ahead < n
    return hit.mean(), (hit / np.log2(ahead + 2)).mean()


def draw(predicted, x, y, ranking, sizes):
    figure, (left, middle, right) = viz.subplots(1, 3)
    for name, shift, color in (("biases", -0.2, "white"), ("factorization", 0.2, "lightgray")):
        by_stars = [predicted[name][tuple(x[y == stars].T)] for stars in range(1, 6)]
        boxes = left.boxplot(
            by_stars,
            positions=np.arange(1, 6) + shift,
            widths=0.3,
            sym="",
            patch_artist=True,
            medianprops={"color": "black"},
        )
        for box in boxes["boxes"]:
            box.set(facecolor=color, label=name if box is boxes["boxes"][0] else None)
    left.set(title="Tastes tell good from bad, biases hardly", xlabel="stars given", ylabel="stars predicted")
    left.set_xticks(range(1, 6), range(1, 6))
    left.legend()
    for i, name in enumerate(("hit rate@10", "NDCG@10")):
        middle.barh(np.arange(4) + 0.4 * i, [values[i] for values in ranking.values()], height=0.38, label=name)
    middle.set_yticks(np.arange(4) + 0.2, list(ranking))
    middle.invert_yaxis()
    middle.set(title="One favourite among 99 others")
    middle.legend()
    right.bar(np.arange(len(sizes)) + 1, sizes)
    right.set(title="Three tastes made the ratings: three are found", xlabel="factor", ylabel="singular value")
    return figure


def main(quick=False, plot=None):
    users, items, density = (200, 150, 0.25) if quick else (1000, 300, 0.1)
    (x, y), (x_test, y_test) = ratings.load_data(users, items, density=density, bias=0.5)
    x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=0.1, seed=0)
    print(f"{len(y_train):,} ratings of {items} items by {users} users; {len(y_test):,} others for the test")

    candidates = (biases(x_train, y_train, users, items, shrinkage) for shrinkage in (1, 2, 5, 10, 20))
    predicted = {"biases": min(candidates, key=lambda table: rmse(table, x_val, y_val))}
    print("matrix factorization")
    factorization = matrix_factorization(users, items)
    predicted["factorization"] = train(factorization, (x_train, y_train), (x_val, y_val), users, items)
    print("neural collaborative filtering")
    neural = neural_collaborative_filtering(users, items)
    predicted["neural"] = train(neural, (x_train, y_train), (x_val, y_val), users, items)
    errors = {name: rmse(table.clip(1, 5), x_test, y_test) for name, table in predicted.items()}

    rated = np.zeros((users, items), dtype=bool)
    rated[tuple(np.concatenate([x, x_test]).T)] = True
    hidden = hidden_favourites(x_test, y_test, rated, np.random.default_rng(0))
    liked = np.bincount(x_train[y_train >= 4, 1], minlength=items)
    scores = {"popularity": np.broadcast_to(liked, (users, items)), **predicted}
    ranking = {name: top_n(table, *hidden) for name, table in scores.items()}

    print(f"\n{'':<20} hit rate@10  NDCG@10  RMSE")
    for name, (hit_rate, ndcg) in ranking.items():
        print(f"{name:<20} {hit_rate:11.3f} {ndcg:8.3f}  {f'{errors[name]:.3f}' if name in errors else '-'}")
    if plot:
        user_tastes, item_tastes = (factorization.get_layer(name).get_weights()[0] for name in ("user", "item"))
        sizes = np.linalg.svd(user_tastes @ item_tastes.T, compute_uv=False)[: user_tastes.shape[1]]
        draw(predicted, x_test, y_test, ranking, sizes).savefig(plot)
    figures = {f"RMSE, {name}": error for name, error in reversed(errors.items())}
    figures |= {f"hit rate@10, {name}": hit_rate for name, (hit_rate, _) in reversed(ranking.items())}
    return figures | {f"NDCG@10, {name}": ndcg for name, (_, ndcg) in reversed(ranking.items())}


if __name__ == "__main__":
    run(main)
