"""Train the bundled mini models from drawn faces alone.

    python -m s3pot_mini all
    python -m s3pot_mini sam --work_dir build/mini --device cuda

Stages, in order: pool (draw faces), parser, generator, pairs (generated references for the pool),
sam, adapter. Each goes on where it stopped. Same seed, device and versions: same curve.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.nets.e4s import E4SNet
from s3pot_mini import adapter, generator, parser, pool, sam

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("pool", "parser", "generator", "pairs", "sam", "adapter")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    cli = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cli.add_argument("stage", choices=(*STAGES, "all"))
    cli.add_argument(
        "--work_dir", type=Path, default=ROOT / "build" / "mini", help="pool, checkpoints, curves"
    )
    cli.add_argument(
        "--target_dir",
        type=Path,
        default=ROOT / "s3pot" / "weights" / "mini",
        help="bundled weights",
    )
    cli.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    cli.add_argument("--faces", type=int, default=8000, help="faces in the pool, a multiple of 250")
    cli.add_argument(
        "--pair_faces", type=int, default=8000, help="faces that get a generated reference"
    )
    cli.add_argument(
        "--steps", type=int, help="optimiser steps of the stage; default: its recipe's"
    )
    cli.add_argument("--workers", type=int, default=2, help="processes that draw")
    return cli


def main(argv: list[str] | None = None) -> int:
    """Run one stage or all of them."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for stage in STAGES if args.stage == "all" else (args.stage,):
        run_stage(stage, args)
    return 0


def run_stage(stage: str, args: argparse.Namespace) -> None:
    """One stage with the options of the command line."""
    work, target, device = args.work_dir, args.target_dir, torch.device(args.device)
    if stage == "pool":
        pool.draw_pool(work, args.faces, args.workers)
    elif stage == "parser":
        parser.train(work, target, device, args.steps or parser.SCHEDULE.steps)
    elif stage == "generator":
        generator.train(
            work, target, device, args.steps or generator.SCHEDULE.steps, load_parser(target)
        )
    elif stage == "pairs":
        nets = (load_generator(target).to(device), load_parser(target).to(device))
        generator.write_pairs(work, *nets, args.pair_faces // pool.SHARD, device)
    elif stage == "sam":
        sam.train(work, target, device, args.steps or sam.SCHEDULE.steps)
    else:
        adapter.train(work, target, args.device)


def load_parser(folder: Path) -> BiSeNet:
    """The bundled parser in full precision."""
    box = torch.load(folder / "parser.pth", weights_only=True)
    net = BiSeNet(box["size"]["classes"], box["size"]["width"])
    net.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in box["state_dict"].items()}
    )
    return net


def load_generator(folder: Path) -> E4SNet:
    """The bundled generator in full precision."""
    box = torch.load(folder / "generator.pth", weights_only=True)
    net = E4SNet(generator.SIZE)
    net.load_state_dict({k: v.float() for k, v in box["state_dict"].items() if k != "latent_avg"})
    return net


if __name__ == "__main__":
    sys.exit(main())
