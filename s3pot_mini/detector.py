"""Recipe of the mini face detector: boxes and five landmarks, from drawn scenes only.

Scenes of ``s3pot_synthetic.crowd`` are composed by other processes while the network trains; each
is used a few times, flipped, shifted and with other colors. The losses are: quality focal loss of
the cells' confidence (Li et al. 2020), whose target is the IoU of the cell's box, so that the score
says how far a detection can be trusted; GIoU and distance of the boxes; and distance of the
landmarks relative to the size of the face. Labels used: boxes and landmarks of drawn faces.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from s3pot.rg.mini_detector import MiniFaceDetector
from s3pot.rg.nets.face_detector import (
    STRIDES,
    CellFaces,
    FaceDetectorNet,
    FaceDetectorSize,
    cell_centers,
)
from s3pot_mini.loop import Losses, Schedule, export, fit
from s3pot_synthetic.crowd import CrowdScene, draw_crowd
from s3pot_synthetic.crowd_bank import draw_bank, open_bank

SIZE = FaceDetectorSize()
SIDE = 192  # side of a training scene, in pixels
SCHEDULE = Schedule(steps=6000, batch=32, lr=3e-3, decay=0.5)
REUSE = 3  # how often a scene is used, on average
WINDOW = 100  # steps for which a scene is kept
PEOPLE_PER_FACE = 0.15  # people drawn in advance, per face of the pool
PLACES_PER_PERSON = 0.15
HELD_OUT = 200  # validation scenes, with the same people
# Longest side of the faces that each grid is responsible for; neighboring grids share some.
RANGES = ((0.0, 52.0), (36.0, 120.0), (84.0, float("inf")))
NEAR = 0.14  # cells within this share of a face's size around its center are responsible for it
_NEAREST = 0.75  # and in any case those within this many strides
_BETA = 0.02  # landmark errors below this share of the face count quadratically


@dataclass(frozen=True)
class SceneBatch:
    """Scenes as tensors; M is the largest number of faces among them.

    Attributes:
        images: (B, 3, S, S) in [0, 1].
        boxes: x, y, width, height, (B, M, 4) pixels.
        landmarks: (B, M, 5, 2) pixels.
        is_face: Which of the M entries are faces, bool (B, M); the others are padding.
        ignored: Boxes whose cells get no loss, (B, M', 4); padded with empty boxes.
    """

    images: Tensor
    boxes: Tensor
    landmarks: Tensor
    is_face: Tensor
    ignored: Tensor


class SceneGroups(Dataset[list[CrowdScene]]):
    """The scenes that each step adds, indexed by the step."""

    def __init__(self, folder: Path, count: int, seed: int, side: int) -> None:
        self.folder = folder
        self.count = count
        self.seed = seed
        self.side = side

    def __getitem__(self, step: int) -> list[CrowdScene]:
        """Compose the scenes of a step."""
        cv2.setNumThreads(1)
        bank = open_bank(self.folder)
        return [
            draw_crowd(np.random.default_rng([self.seed, 31, step, number]), bank, self.side)
            for number in range(self.count)
        ]


def collate(scenes: list[CrowdScene], device: torch.device) -> SceneBatch:
    """Batch scenes; lists of faces are padded."""
    images = torch.from_numpy(np.stack([scene.image for scene in scenes]))
    most = max(1, *(len(scene.boxes) for scene in scenes))
    most_ignored = max(1, *(len(scene.ignored) for scene in scenes))
    boxes = torch.zeros(len(scenes), most, 4)
    landmarks = torch.zeros(len(scenes), most, 5, 2)
    is_face = torch.zeros(len(scenes), most, dtype=torch.bool)
    ignored = torch.zeros(len(scenes), most_ignored, 4)
    for row, scene in enumerate(scenes):
        count = len(scene.boxes)
        boxes[row, :count] = torch.from_numpy(scene.boxes)
        landmarks[row, :count] = torch.from_numpy(scene.landmarks)
        is_face[row, :count] = True
        ignored[row, : len(scene.ignored)] = torch.from_numpy(scene.ignored)
    return SceneBatch(
        images.to(device).permute(0, 3, 1, 2).float().div(255),
        boxes.to(device),
        landmarks.to(device),
        is_face.to(device),
        ignored.to(device),
    )


def train(
    folder: Path,
    target: Path,
    device: torch.device,
    schedule: Schedule,
    workers: int,
    people: int,
    start: FaceDetectorNet | None = None,
) -> None:
    """Draw the bank if it is missing, train, and export to ``target``.

    Args:
        folder: Work directory.
        target: Folder for the weights.
        device: Device of the training.
        schedule: Steps and learning rates.
        workers: Processes that draw; 0 for only this one.
        people: Number of people in the bank.
        start: Network to start from; None for a fresh one.
    """
    draw_bank(folder, people, max(8, round(people * PLACES_PER_PERSON)), workers)
    torch.manual_seed(schedule.seed)
    net = start or FaceDetectorNet(SIZE)
    net.requires_grad_(True).to(device).to(memory_format=torch.channels_last)
    held_out = SceneGroups(folder, HELD_OUT, schedule.seed + 1, SIDE)[0]
    stream = SceneStream(folder, schedule, workers)

    def losses(step: int) -> Losses:
        batch = augmented(collate(stream.batch(step), device))
        images = batch.images.contiguous(memory_format=torch.channels_last)
        # Depthwise convolutions are slower in bfloat16 on a CPU.
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu"):
            faces = net.train()(images)
        with torch.autocast(device.type, enabled=False):
            return step_losses(faces, batch)

    def validate(step: int) -> dict[str, float]:
        return measure(net, held_out)

    fit("detector", net, losses, schedule, folder, device, validate)
    write(net.state_dict(), target)


def write(state: dict[str, Tensor], target: Path) -> None:
    """Export weights in the form that the package loads."""
    export("detector", dataclasses.asdict(SIZE), state, target)


class SceneStream:
    """Provides the scenes of every step, composed by other processes.

    A step's scenes are sampled from those of the last WINDOW steps, to which each step adds a few.
    They therefore depend only on the step, even after a run was stopped.
    """

    def __init__(self, folder: Path, schedule: Schedule, workers: int) -> None:
        """Use the bank in ``folder`` with ``workers`` processes, 0 for this one."""
        self.folder = folder
        self.schedule = schedule
        self.workers = workers
        self.fresh = max(1, schedule.batch // REUSE)
        self._kept: deque[list[CrowdScene]] = deque(maxlen=WINDOW)
        self._source: Iterator[list[CrowdScene]] | None = None
        self._next = 0

    def batch(self, step: int) -> list[CrowdScene]:
        """Return the scenes of one step; steps must be requested in order."""
        if self._source is None:
            self._next = max(0, step - WINDOW + 1)
            self._source = self._open(self._next)
        while self._next <= step:
            self._kept.append(next(self._source))
            self._next += 1
        scenes = [scene for group in self._kept for scene in group]
        rng = np.random.default_rng([self.schedule.seed, 32, step])
        chosen = rng.integers(len(scenes), size=self.schedule.batch)
        return [scenes[int(number)] for number in chosen]

    def _open(self, step: int) -> Iterator[list[CrowdScene]]:
        """Start the processes; their results begin with the scenes that a step adds."""
        groups = SceneGroups(self.folder, self.fresh, self.schedule.seed, SIDE)
        loader: DataLoader[list[CrowdScene]] = DataLoader(
            groups,
            batch_size=None,
            sampler=range(step, self.schedule.steps),
            num_workers=self.workers,
            generator=torch.Generator(),  # otherwise it would consume random numbers of the step
            prefetch_factor=8 if self.workers else None,
            multiprocessing_context="spawn" if self.workers else None,
        )
        return iter(loader)


def augmented(batch: SceneBatch) -> SceneBatch:
    """Flip, shift, scale and tint scenes with PyTorch's random numbers."""
    count, device = len(batch.images), batch.images.device
    side = batch.images.shape[-1]
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    scale = torch.exp((torch.rand(count) - 0.5) * 0.5)
    shift = (torch.rand(count, 2) - 0.5) * 0.2 * side
    middle = (side - 1) / 2
    # A pixel at p goes to (p - middle) * factor + middle + shift.
    factor = torch.stack((scale * mirror, scale), dim=1)
    inverse = torch.zeros(count, 2, 3)
    inverse[:, 0, 0] = 1 / factor[:, 0]
    inverse[:, 1, 1] = 1 / factor[:, 1]
    inverse[:, :, 2] = -(shift / factor) * 2 / side
    grid = F.affine_grid(inverse.to(device), list(batch.images.shape), align_corners=False)
    images = F.grid_sample(batch.images, grid, padding_mode="border", align_corners=False)
    factor, shift, flipped = factor.to(device), shift.to(device), (mirror < 0).to(device)

    def moved(points: Tensor) -> Tensor:
        shape = (count, *[1] * (points.dim() - 2), 2)
        return (points - middle) * factor.view(shape) + middle + shift.view(shape)

    def moved_boxes(boxes: Tensor) -> Tensor:
        corners = moved(torch.stack((boxes[..., :2], boxes[..., :2] + boxes[..., 2:]), dim=2))
        low, high = corners.amin(dim=2), corners.amax(dim=2)
        return torch.cat((low, high - low), dim=-1)

    landmarks = moved(batch.landmarks)
    swapped = landmarks[:, :, [1, 0, 2, 4, 3]]
    landmarks = torch.where(flipped[:, None, None, None], swapped, landmarks)
    boxes = moved_boxes(batch.boxes)
    center = boxes[..., :2] + boxes[..., 2:] / 2
    inside = ((center >= 0) & (center < side)).all(dim=-1)
    lost = boxes * (batch.is_face & ~inside)[..., None]
    return SceneBatch(
        images=_tinted(images),
        boxes=boxes,
        landmarks=landmarks,
        is_face=batch.is_face & inside,
        ignored=torch.cat((moved_boxes(batch.ignored), lost), dim=1),
    )


def _tinted(images: Tensor) -> Tensor:
    """Change exposure, color cast, contrast and saturation of each picture, and add noise."""
    shape = (len(images), 1, 1, 1)
    gain = torch.exp(torch.randn(shape) * 0.2 + torch.randn(len(images), 3, 1, 1) * 0.06)
    contrast = torch.exp(torch.randn(shape) * 0.2)
    saturation = torch.rand(shape) * 0.7 + 0.5
    noise = torch.rand(shape) * 0.03
    gain, contrast, saturation, noise = (
        values.to(images.device) for values in (gain, contrast, saturation, noise)
    )
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * contrast + mean
    gray = images.mean(dim=1, keepdim=True)
    images = (gray + (images - gray) * saturation) * gain
    return (images + torch.randn_like(images) * noise).clamp(0, 1)


def step_losses(faces: CellFaces, batch: SceneBatch) -> Losses:
    """Compute all losses of one batch."""
    owner, judged = assign(batch)
    positive = owner >= 0
    row, cell = positive.nonzero(as_tuple=True)
    number = owner[row, cell]
    count = max(1, len(row))
    boxes, want = faces.boxes[row, cell], batch.boxes[row, number]
    overlap, generous = box_overlaps(boxes, want)
    side = want[:, 2:].amax(1).clamp_min(1)[:, None, None]
    offset = (faces.landmarks[row, cell] - batch.landmarks[row, number]) / side
    quality = torch.zeros_like(faces.logits)
    quality[row, cell] = overlap.detach().clamp(0.05, 1).to(quality)
    score = faces.logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(faces.logits, quality, reduction="none")
    focal = (entropy * (score.detach() - quality).abs() ** 2 * judged).sum() / count
    distance = ((boxes - want).abs() / side[:, 0]).sum(dim=1)
    box = ((1 - generous) + distance).sum() / count
    landmark = F.smooth_l1_loss(offset, torch.zeros_like(offset), reduction="none", beta=_BETA)
    landmark = landmark.mean(dim=(1, 2)).sum() / count
    total = focal + box + 10 * landmark
    return {"total": total, "focal": focal, "box": box, "landmark": landmark}


def assign(batch: SceneBatch) -> tuple[Tensor, Tensor]:
    """Assign faces to the cells that are responsible for them.

    Returns:
        Index of the face of each cell, -1 for none, int64 (B, N); and which cells get a loss at
        all, float (B, N).
    """
    height, width = batch.images.shape[-2:]
    middle = batch.boxes[..., :2] + batch.boxes[..., 2:] / 2
    side = batch.boxes[..., 2:].amax(-1)
    owners, judged = [], []
    for stride, (low, high) in zip(STRIDES, RANGES):
        centers = cell_centers(height // stride, width // stride, stride).to(batch.boxes)
        offset = (centers[None, :, None] - middle[:, None]).abs().amax(-1)
        reach = (NEAR * side).clamp_min(_NEAREST * stride)[:, None]
        mine = (batch.is_face & (side >= low) & (side < high))[:, None] & (offset <= reach)
        # The nearest face if two claim the same cell.
        distance = torch.where(mine, offset, torch.full_like(offset, float("inf")))
        nearest, number = distance.min(dim=-1)
        owner = torch.where(nearest.isfinite(), number, torch.full_like(number, -1))
        owners.append(owner)
        judged.append(_is_judged(centers, owner, batch))
    return torch.cat(owners, dim=1), torch.cat(judged, dim=1)


def _is_judged(centers: Tensor, owner: Tensor, batch: SceneBatch) -> Tensor:
    """Select the cells that get a loss: none in ignored boxes or at the rim of a face's center.

    Cells around the center, and those of grids responsible for other sizes, may predict anything.
    """
    ignored = _inside(centers, batch.ignored, 1.0)
    unsure = _inside(centers, batch.boxes * batch.is_face[..., None], 0.45)
    judged = (owner >= 0) | ~(ignored | unsure)
    return judged.float()


def _inside(centers: Tensor, boxes: Tensor, share: float) -> Tensor:
    """Whether points (N, 2) lie in the central share of any box (B, M, 4): bool (B, N)."""
    middle = boxes[..., :2] + boxes[..., 2:] / 2
    half = boxes[..., 2:] * share / 2
    offset = (centers[None, :, None] - middle[:, None]).abs()
    return (offset < half[:, None]).all(-1).any(-1)


def box_overlaps(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Compare boxes x, y, width, height in pairs.

    Returns:
        IoU and generalized IoU (Rezatofighi et al. 2019), each (N,).
    """
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    other_low, other_high = others[:, :2], others[:, :2] + others[:, 2:]
    shared = (torch.minimum(high, other_high) - torch.maximum(low, other_low)).clamp_min(0).prod(1)
    union = boxes[:, 2:].prod(1) + others[:, 2:].prod(1) - shared
    hull = (torch.maximum(high, other_high) - torch.minimum(low, other_low)).prod(1)
    overlap = shared / union.clamp_min(1e-6)
    return overlap, overlap - (hull - union) / hull.clamp_min(1e-6)


def measure(
    net: FaceDetectorNet, scenes: list[CrowdScene], min_score: float = 0.4
) -> dict[str, float]:
    """Measure scores on held-out scenes, each searched at its own size.

    Returns:
        Recall (share of faces detected with an IoU above 0.4), share of false detections, and mean
        distance of the landmarks relative to the longer side of the face box.
    """
    detector = MiniFaceDetector(net.eval(), min_score)
    wanted = hits = finds = 0
    errors: list[float] = []
    for scene in scenes:
        wanted += len(scene.boxes)
        for face in detector.search(scene.image, 1.0):
            if face.score < min_score:
                continue
            box = torch.tensor([face.box], dtype=torch.float32)
            if _best(box, scene.ignored)[1] > 0.2:
                continue
            finds += 1
            number, overlap = _best(box, scene.boxes)
            if overlap > 0.4:
                hits += 1
                distance = np.linalg.norm(face.landmarks - scene.landmarks[number], axis=1).mean()
                errors.append(float(distance / scene.boxes[number, 2:].max()))
    return {
        "found": hits / max(1, wanted),
        "false": 1 - hits / max(1, finds),
        "landmark_error": float(np.mean(errors)) if errors else 1.0,
    }


def _best(box: Tensor, others: np.ndarray) -> tuple[int, float]:
    """Index and IoU of the box, out of (N, 4), that overlaps a box (1, 4) most; IoU 0 if none."""
    if len(others) == 0:
        return -1, 0.0
    overlap = box_overlaps(box.expand(len(others), 4), torch.from_numpy(others))[0]
    return int(overlap.argmax()), float(overlap.max())
