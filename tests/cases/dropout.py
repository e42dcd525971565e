"""Layers that act in training only: the table shows that they pass all on else."""

from layer_cases import Case, F, L

CASES = [
    Case("dropout", L("Dropout", rate=0.5), F(2, 3), wrong=(([F(2, 3)], "Dropout: expected one tensor"),)),
    Case(
        "spatial dropout 1d",
        L("SpatialDropout1D", rate=0.5),
        F(2, 3, 2),
        wrong=((F(2, 3), r"SpatialDropout1D: expected a batch \(n, length, channels\)"),),
    ),
    Case(
        "spatial dropout 2d",
        L("SpatialDropout2D", rate=0.5),
        F(2, 3, 2, 2),
        wrong=((F(2, 3, 2), r"SpatialDropout2D: expected a batch \(n, height, width, channels\)"),),
    ),
    Case(
        "spatial dropout 3d",
        L("SpatialDropout3D", rate=0.5),
        F(2, 1, 2, 2, 2),
        wrong=((F(2, 3, 2), r"SpatialDropout3D: expected a batch \(n, depth, height, width, channels\)"),),
    ),
    Case(
        "gaussian noise",
        L("GaussianNoise", stddev=0.5),
        F(2, 3),
        wrong=(([F(2, 3)], "GaussianNoise: expected one tensor"),),
    ),
    Case(
        "gaussian dropout",
        L("GaussianDropout", rate=0.5),
        F(2, 3),
        wrong=(([F(2, 3)], "GaussianDropout: expected one tensor"),),
    ),
    Case(
        "alpha dropout", L("AlphaDropout", rate=0.5), F(2, 3), wrong=(([F(2, 3)], "AlphaDropout: expected one tensor"),)
    ),
]
