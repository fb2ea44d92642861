"""Time greedy matching against the plain sorted loop, one CPU thread, one process.

    python -m benchmarks.greedy_speed

Scores: those of SAM ViT-B's attended tokens (filled and fed by the recipe in tests/data/parity, no
official weights), random ones, and ones made to collide. Both results are compared, pairs and
order. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path
from typing import Callable

import torch
from segment_anything import sam_model_registry
from torch import Tensor

from s3pot.fe import enhance
from s3pot.ps.greedy import greedy_match
from s3pot.ps.select import match_scores
from s3pot.sam.frozen import FrozenSam

RECIPE = Path(__file__).resolve().parents[1] / "tests" / "data" / "parity" / "fill.py"
Matcher = Callable[[Tensor], tuple[Tensor, Tensor]]


def sorted_loop(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The definition: visit all pairs of (R, C) scores in sorted order, leave when done."""
    count, width = scores.shape
    order = torch.sort(scores.flatten(), descending=True, stable=True).indices
    row_taken, col_taken = [False] * count, [False] * width
    rows, cols = [], []
    for row, col in zip((order // width).tolist(), (order % width).tolist()):
        if row_taken[row] or col_taken[col]:
            continue
        row_taken[row] = col_taken[col] = True
        rows.append(row)
        cols.append(col)
        if len(rows) == min(count, width):
            break
    return torch.tensor(rows), torch.tensor(cols)


def sam_scores(seed: int) -> Tensor:
    """Scores of the recipe's face, raw against reference: (984, 4096) with seed 1."""
    spec = importlib.util.spec_from_file_location("parity_fill", RECIPE)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"no recipe at {RECIPE}: run from a clone of the repository")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    sam = sam_model_registry["vit_b"]()
    shapes = {
        key: tuple(value.shape)
        for key, value in sam.state_dict().items()
        if key.startswith(("prompt_encoder.", "mask_decoder."))
    }
    filled = recipe.fill_state_dict(shapes, seed)
    sam.load_state_dict({k: torch.from_numpy(v) for k, v in filled.items()}, strict=False)
    raw, reference = (torch.from_numpy(tokens)[0] for tokens in recipe.sam_embeddings(seed))
    frozen = FrozenSam(sam)
    region = frozen.grid.on_grid(torch.from_numpy(recipe.face_region(recipe.label_map(seed))))
    tokens = enhance(frozen, raw, reference, region, anchor="corner", pick="product")
    return match_scores(tokens.image_tokens, tokens.reference_tokens, region)


def matrices(seed: int, side: int) -> dict[str, Tensor]:
    """Name → scores of every row of the table."""
    generator = torch.Generator().manual_seed(seed)
    step = torch.arange(side, dtype=torch.float64)
    chain = torch.full((side, side), -1e6)
    chain.diagonal().copy_(-2 * step)
    chain.diagonal(-1).copy_(1 - 2 * step[1:])
    return {
        "SAM tokens of the recipe": sam_scores(seed),
        "random": torch.rand(984, 4096, generator=generator),
        "random, tall": torch.rand(4096, 984, generator=generator),
        "random, square": torch.rand(side, side, generator=generator),
        "random, 16 levels": torch.randint(16, (984, 4096), generator=generator).float(),
        "all equal": torch.zeros(side, side),
        "all rows want the same columns": -(step * side + step[:, None]).float(),
        "all columns want the same rows": -(step + side * step[:, None]).float(),
        "chain of displaced rows": chain,
    }


def seconds(matcher: Matcher, scores: Tensor, repeats: int) -> float:
    """Shortest time of one call: what the machine does beside it only ever adds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        matcher(scores)
        times.append(time.perf_counter() - start)
    return min(times)


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 if a result differs from the definition."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=1, help="seed of all scores (default: 1)")
    parser.add_argument("--side", type=int, default=2000, help="of square matrices (default: 2000)")
    parser.add_argument("--repeats", type=int, default=5, help="calls, best counts (default: 5)")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    wrong = 0
    sys.stdout.write("| scores | shape | sorted loop, ms | greedy_match, ms | times faster |\n")
    sys.stdout.write("|---|---|---|---|---|\n")
    for name, scores in matrices(options.seed, options.side).items():
        want, got = sorted_loop(scores), greedy_match(scores)
        equal = torch.equal(want[0], got[0]) and torch.equal(want[1], got[1])
        wrong += not equal
        plain = 1000 * seconds(sorted_loop, scores, options.repeats)
        fast = 1000 * seconds(greedy_match, scores, options.repeats)
        shape = " x ".join(str(length) for length in scores.shape)
        faster = f"{plain / fast:.1f}" if equal else "RESULTS DIFFER"
        sys.stdout.write(f"| {name} | {shape} | {plain:.1f} | {fast:.1f} | {faster} |\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
