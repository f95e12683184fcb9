"""What the verifier has learned, as plain arrays in one file, and the three models that are made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict
from numpy.typing import NDArray

from spendstream.caching.embedding import Vector
from spendstream.caching.features import Rarity

__all__ = ["SHIPPED", "Kinship", "Trees", "Weights", "Wordings", "load", "save"]

SHIPPED = Path(__file__).with_name("verifier.npz")


class Kinship(Struct, frozen=True):
    """Of two vectors, how much likelier they are as those of one meaning than as those of two.

    Probabilistic linear discriminant analysis (Ioffe, "Probabilistic Linear Discriminant Analysis", 2006): in
    the space of `projection` (dimensions x directions), questions of one meaning vary by 1 in each direction,
    and meanings by `spread`, which is sorted, the most telling direction first.
    """

    mean: Vector
    projection: Vector
    spread: Vector
    depths: Sequence[int]

    def project(self, vector: Vector) -> Vector:
        """Return a vector in that space."""
        return ((vector - self.mean) @ self.projection).astype(np.float32, copy=False)

    def features(self, one: Vector, other: Vector) -> list[float]:
        """Return log likelihood ratio, cosine and squared distance of two in that space, for each depth."""
        found = []
        for depth in self.depths:
            a, b, spread = one[:depth], other[:depth], self.spread[:depth]
            lengths, apart = a * a + b * b, (a - b) ** 2
            ratio = lengths / (2 * (spread + 1)) - ((a + b) ** 2 / (2 * spread + 1) + apart) / 4
            norm = float(np.linalg.norm(a) * np.linalg.norm(b)) or 1.0
            found += [float(ratio.sum()), float(a @ b) / norm, float(apart.sum())]
        return found


class Wordings(Struct, frozen=True):
    """What it tells that two questions share a word, differ in it, or have it in the place of another."""

    weights: dict[str, float]

    def score(self, names: Sequence[str]) -> float:
        """Return the sum of the weights of `names`; those that are not known have none."""
        return sum(self.weights.get(name, 0.0) for name in names)


class Trees(Struct, frozen=True):
    """Boosted trees as flat arrays. A leaf leads to itself, so that all trees are walked in step."""

    roots: NDArray[np.int32]
    feature: NDArray[np.int16]
    threshold: Vector
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    missing_left: NDArray[np.bool_]
    value: Vector
    depth: int
    base: float

    def score(self, row: Sequence[float]) -> float:
        """Return the sum of what all trees say of a row of features, nan for what it has not; log odds."""
        values = np.array(row, dtype=np.float32)
        node = self.roots
        for _ in range(self.depth):
            found = values[self.feature[node]]
            goes_left = (found <= self.threshold[node]) | (np.isnan(found) & self.missing_left[node])
            node = np.where(goes_left, self.left[node], self.right[node])
        return self.base + float(self.value[node].sum())


class Weights(Struct, frozen=True, kw_only=True):
    """All that is learned. `thresholds` are log odds from which on pairs had a precision of .90 and .95."""

    rarity: Rarity
    kinship: Kinship
    wordings: Wordings
    trees: Trees
    thresholds: tuple[float, float]


def save(weights: Weights, file: Path | BinaryIO) -> None:
    """Write weights to a file."""
    arrays = {
        "rarity": np.array(list(weights.rarity.known.values()), dtype=np.float32),
        "rarity_names": np.array(list(weights.rarity.known)),
        "rarity_unknown": np.array(weights.rarity.unknown),
        "wordings": np.array(list(weights.wordings.weights.values()), dtype=np.float32),
        "wording_names": np.array(list(weights.wordings.weights)),
        "thresholds": np.array(weights.thresholds),
        **{f"kinship_{name}": np.asarray(value) for name, value in asdict(weights.kinship).items()},
        **{f"trees_{name}": np.asarray(value) for name, value in asdict(weights.trees).items()},
    }
    # Half precision tells directions well enough, in half of the room.
    arrays["kinship_projection"] = arrays["kinship_projection"].astype(np.float16)
    np.savez_compressed(file, allow_pickle=False, **arrays)


def load(file: Path | BinaryIO = SHIPPED) -> Weights:
    """Read weights from a file; those that are shipped, if not told which. Nothing in it is run."""
    with np.load(file, allow_pickle=False) as arrays:
        known = zip(arrays["rarity_names"].tolist(), arrays["rarity"].tolist(), strict=True)
        named = zip(arrays["wording_names"].tolist(), arrays["wordings"].tolist(), strict=True)
        low, high = arrays["thresholds"].tolist()
        return Weights(
            rarity=Rarity(dict(known), float(arrays["rarity_unknown"])),
            kinship=Kinship(
                arrays["kinship_mean"],
                arrays["kinship_projection"].astype(np.float32),
                arrays["kinship_spread"],
                tuple(arrays["kinship_depths"].tolist()),
            ),
            wordings=Wordings(dict(named)),
            trees=Trees(
                roots=arrays["trees_roots"],
                feature=arrays["trees_feature"],
                threshold=arrays["trees_threshold"],
                left=arrays["trees_left"],
                right=arrays["trees_right"],
                missing_left=arrays["trees_missing_left"],
                value=arrays["trees_value"],
                depth=int(arrays["trees_depth"]),
                base=float(arrays["trees_base"]),
            ),
            thresholds=(low, high),
        )
