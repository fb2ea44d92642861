"""Measure how many synthetic pairs one core draws in a second.

python benchmarks/synthetic_speed.py --count 200
"""

from __future__ import annotations

import argparse
import sys
import time

import cv2

from s3pot_synthetic import draw_face


def main(argv: list[str] | None = None) -> int:
    """Draw and time; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200, help="pairs to draw (200)")
    parser.add_argument("--size", type=int, default=256, help="side in pixels (256)")
    parser.add_argument(
        "--split", choices=("train", "bench"), default="train", help="default train"
    )
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)
    draw_face(0, args.size, args.split)  # fills the noise banks
    start, busy = time.perf_counter(), time.process_time()
    for index in range(1, args.count + 1):
        draw_face(index, args.size, args.split)
    wall, core = time.perf_counter() - start, time.process_time() - busy
    line = f"{args.count / core:.1f} pairs/s per core, {args.count / wall:.1f} pairs/s by the clock"
    sys.stdout.write(f"{args.split}, {args.size} px: {line}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
