"""Layers that make one tensor of several."""

from layer_cases import Case, F, L

TWO = [F(3, 4), F(3, 4)]
NO_LIST = (F(3, 4), "expected a list of tensors, received Tensor")
OTHER = ([F(3, 4), F(3, 5)], "expected shapes that are equal, or 1 where not")
BATCHES = ([F(3, 4), F(2, 4)], "expected batches of one size")


def cases(name, layer):
    three = [] if layer == "Subtract" else [F(3, 2, 2)]
    return [
        Case(name, L(layer), TWO, wrong=(NO_LIST, OTHER, BATCHES, ([], "expected a list of tensors"))),
        Case(f"{name} of several", L(layer), [F(3, 2, 2), F(3, 1, 2), *three]),
        Case(f"{name} of other ranks", L(layer), [F(3, 2), F(3, 4, 2)]),
    ]


CASES = [
    *cases("add", "Add"),
    *cases("subtract", "Subtract"),
    *cases("multiply", "Multiply"),
    *cases("average", "Average"),
    *cases("maximum", "Maximum"),
    *cases("minimum", "Minimum"),
    Case("add one", L("Add"), [F(3, 4)]),
    Case("subtract three", L("Subtract"), TWO, wrong=(([F(3, 4)] * 3, "expected a list of 2 tensors, received 3"),)),
    Case(
        "concatenate",
        L("Concatenate"),
        [F(3, 2), F(3, 4), F(3, 1)],
        wrong=(
            NO_LIST,
            BATCHES,
            ([F(3, 4, 2), F(3, 5, 2)], "expected shapes that are equal but for axis -1"),
            ([F(3, 4, 2), F(3, 2)], "expected shapes that are equal but for axis -1"),
        ),
    ),
    Case("concatenate along the first axis", L("Concatenate", axis=1), [F(2, 2, 3), F(2, 1, 3)]),
    Case(
        "dot",
        L("Dot", axes=1),
        TWO,
        wrong=(
            (OTHER[0], "expected inputs of equal lengths along axes 1"),
            BATCHES,
            ([F(3, 4)], "expected a list of 2 tensors"),
            NO_LIST,
        ),
    ),
    Case("dot of cosines", L("Dot", axes=-1, normalize=True), TWO),
    Case("dot of matrices", L("Dot", axes=[1, 2]), [F(2, 3, 2), F(2, 4, 3)]),
    Case("dot of matrices and cosines", L("Dot", axes=(2, 1), normalize=True), [F(2, 3, 2), F(2, 2, 4)]),
    Case("dot of a matrix and a vector", L("Dot", axes=[2, 1]), [F(2, 3, 4), F(2, 4)]),
    Case("dot of a vector and a matrix", L("Dot", axes=[1, 1]), [F(2, 3), F(2, 3, 4)]),
    Case("dot of more axes", L("Dot", axes=[2, 3]), [F(2, 3, 4, 2), F(2, 3, 2, 4)]),
]
