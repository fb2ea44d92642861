from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest
import torch

import train_general

ROOT = Path(train_general.__file__).parent
# Seconds. The test took 7 on idle cores and up to 167 on a core with twelve other processes.
LONGEST = 900


@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_equal_one(
    processed_folder: Callable[..., Path], mini_options: list[str], tmp_path: Path
) -> None:
    """Steps of 3, 3 and 1 images: shares of 2 and 1, and one process without any."""
    processed_folder(7, "data/train")
    processed_folder(3, "data/val")
    arguments = [
        "--datapath",
        str(tmp_path / "data"),
        "--bsz",
        "3",
        "--epochs",
        "2",
        "--lr",
        "1e-3",
    ]
    one, two = tmp_path / "one", tmp_path / "two"
    assert train_general.main([*arguments, "--output_dir", str(one), *mini_options]) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    torchrun += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]
    command = [*torchrun, "train_general.py", *arguments, "--output_dir", str(two), *mini_options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=LONGEST)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr.decode().count("training on 7 faces, validating on 3") == 1
    rows = []
    for folder in (one, two):
        with (folder / "history.csv").open() as file:
            rows.append(list(csv.DictReader(file)))
    assert len(rows[0]) == len(rows[1]) == 2
    for a, b in zip(*rows):
        assert {k: float(v) for k, v in b.items()} == pytest.approx(
            {k: float(v) for k, v in a.items()}, rel=1e-5, abs=1e-6
        )
    weights = [torch.load(f / "last.pth", weights_only=True)["adapter"] for f in (one, two)]
    for key, value in weights[0].items():
        got, want = weights[1][key], value
        if key == "self_attn.in_proj_bias":
            # Softmax does not depend on the key's bias, where AdamW only amplifies rounding.
            got, want = (torch.cat((b[:32], b[64:])) for b in (got, want))
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert sorted(path.name for path in one.iterdir()) == sorted(
        path.name for path in two.iterdir()
    )
