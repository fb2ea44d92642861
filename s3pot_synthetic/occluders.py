"""The registries of occluder kinds, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from s3pot_synthetic import composites, objects, occluders_bench, things
from s3pot_synthetic.face import Face
from s3pot_synthetic.hands import hand
from s3pot_synthetic.layers import Layer

Occluder = Callable[[np.random.Generator, Face, str], "list[Layer]"]

# Kinds of both splits with their relative frequencies.
TRAIN_KINDS: dict[str, tuple[Occluder, float]] = {
    "hand": (hand, 4.0),
    "hair_strands": (things.hair_strands, 0.9),
    "surgical_mask": (things.surgical_mask, 1.2),
    "sunglasses": (things.sunglasses, 1.1),
    "food": (things.food, 1.1),
    "microphone": (things.microphone, 0.9),
    "text": (things.text, 0.5),
    "foliage": (things.foliage, 1.0),
    "held_thing": (objects.held_thing, 1.4),
    "cloth": (objects.cloth, 1.4),
    "skin_patch": (objects.skin_patch, 0.9),
    "veil": (objects.veil, 0.8),
    "tumbler": (objects.tumbler, 0.6),
    "blob": (composites.blob, 2.2),
    "doughnut": (composites.doughnut, 0.8),
    "cutlery": (composites.cutlery, 1.0),
    "pane": (composites.pane, 0.7),
}
# Kinds that only the held-out split contains.
BENCH_KINDS: dict[str, tuple[Occluder, float]] = {
    "fan": (occluders_bench.fan, 1.0),
    "scarf": (occluders_bench.scarf, 1.0),
    "ice_cream": (occluders_bench.ice_cream, 1.0),
    "bandage": (occluders_bench.bandage, 1.0),
    "crossed_arms": (occluders_bench.crossed_arms, 1.0),
    "bouquet": (occluders_bench.bouquet, 1.0),
}


def draw_kind(rng: np.random.Generator, split: str) -> str:
    """Draw an occluder kind; in ``bench``, a held-out kind half of the time."""
    registry = BENCH_KINDS if split == "bench" and rng.random() < 0.5 else TRAIN_KINDS
    weights = np.array([weight for _, weight in registry.values()])
    return list(registry)[int(rng.choice(len(registry), p=weights / weights.sum()))]


def draw_occluder(rng: np.random.Generator, face: Face, split: str, kind: str) -> list[Layer]:
    """Draw one occluder of a kind as layers, from the lowest to the highest."""
    painter = {**TRAIN_KINDS, **BENCH_KINDS}[kind][0]
    return painter(rng, face, split)
