"""Embedding."""

from layer_cases import Case, L, V

CASES = [
    Case(
        "embedding",
        L("Embedding", input_dim=5, output_dim=3),
        V([[0, 4, 4], [1, 2, 0]]),
        wrong=(
            (V([[0, 5, 1]]), "Embedding: embedding: expected indices from 0 to 4, received 5"),
            (V([[0, -1, 1]]), "Embedding: embedding: expected indices from 0 to 4, received -1"),
            (V([[0.5, 1.0]]), "Embedding: expected ids that are whole, received 0.5"),
        ),
    ),
    Case(
        "embedding of padded ids", L("Embedding", input_dim=4, output_dim=2, mask_zero=True), V([[3, 1, 0], [1, 0, 0]])
    ),
    Case(
        "embedding of one id",
        L("Embedding", input_dim=4, output_dim=2, embeddings_initializer="ones", embeddings_regularizer="l1"),
        V([3, 1, 0]),
    ),
]
