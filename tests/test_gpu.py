"""Every stage on a GPU against the CPU; ``pytest -m gpu`` runs these.

Without a GPU, most of them run on the CPU, so that a test that cannot work is noticed. There, too,
they compare different ways: batches with single images, fused attention with the plain one.
"""

from __future__ import annotations

import copy
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
import torch
from builders import prompts_of
from segment_anything.modeling import ImageEncoderViT
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import evaluate
import generate_reference
import inference
import train_general
import train_per_image
from s3pot.adapter import PromptAdapter
from s3pot.build import build_face_parser, build_inverter, build_segmenter, weights_path
from s3pot.config import load_config
from s3pot.data.image import read_rgb, write_png
from s3pot.data.pixels import to_tensor
from s3pot.device import pick_device
from s3pot.distributed import Place, Process, joined
from s3pot.losses import point_losses
from s3pot.pipeline import OcclusionSegmenter, batch_prompts
from s3pot.ps import greedy
from s3pot.ps.greedy import greedy_match, greedy_match_many
from s3pot.sam.encoder_attention import fuse_image_encoder
from s3pot.sam.frozen import FrozenSam
from s3pot.training.checkpoint import new_adapter
from s3pot.training.loss_sums import LossSums
from s3pot.training.trainer import AdapterTrainer
from s3pot.types import AlignedFace, Prompts
from s3pot_synthetic import draw_face
from s3pot_synthetic.sample import FaceSample

CPU, GPU = torch.device("cpu"), torch.device("cuda")
MINI = ["model.set=mini", "model.sam=mini", "align.mode=never"]
needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
only_on_gpu = pytest.mark.parametrize(
    "device", [pytest.param(GPU, marks=needs_gpu, id="cuda")], scope="module"
)
on_each_device = pytest.mark.parametrize(
    "device",
    [pytest.param(CPU, id="cpu"), pytest.param(GPU, marks=needs_gpu, id="cuda")],
    scope="module",
)


@pytest.fixture(autouse=True)
def float32() -> Iterator[None]:
    """No TF32: the CPU has none."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def relative_error(got: Tensor, want: Tensor) -> float:
    return float((got.cpu() - want.cpu()).abs().max() / want.abs().max())


def overlap(first: Tensor, second: Tensor) -> float:
    first, second = first.cpu(), second.cpu()
    return float((first & second).sum() / (first | second).sum())


def vit(side: int) -> ImageEncoderViT:
    """An image encoder of two blocks with random weights; ViT-H's head and windows."""
    torch.manual_seed(0)
    encoder = ImageEncoderViT(
        img_size=side * 16,
        embed_dim=160,
        depth=2,
        num_heads=2,
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=(1,),
        out_chans=32,
    )
    for block in encoder.blocks:
        nn.init.normal_(block.attn.rel_pos_h, std=0.1)
        nn.init.normal_(block.attn.rel_pos_w, std=0.1)
    return encoder.eval().requires_grad_(False)


class PlainSam(nn.Module):
    """The parts of a ``Sam`` that encoding needs."""

    def __init__(self, encoder: ImageEncoderViT) -> None:
        super().__init__()
        self.image_encoder = encoder
        self.prompt_encoder = nn.Identity()
        side = encoder.img_size // 16
        self.prompt_encoder.image_embedding_size = (side, side)
        self.register_buffer("pixel_mean", torch.full((3, 1, 1), 127.0))
        self.register_buffer("pixel_std", torch.full((3, 1, 1), 58.0))

    @property
    def device(self) -> torch.device:
        """As in ``Sam``."""
        return self.pixel_mean.device


@pytest.fixture(scope="module")
def side(device: torch.device) -> int:
    """Side of the token grid; small on the CPU, but larger than a window."""
    return 16 if device == CPU else 32


@pytest.fixture(scope="module")
def images(side: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, 16 * side, 16 * side, generator=generator)


@pytest.fixture(scope="module")
def want_tokens(images: Tensor, side: int) -> Tensor:
    return vit(side)((images * 255 - 127.0) / 58.0)


def tokens_on(device: torch.device, images: Tensor, speed: str, way: str) -> Tensor:
    """Encode images with fused attention; the tokens are on the CPU."""
    encoder = vit(images.shape[-1] // 16)
    sam = FrozenSam(PlainSam(encoder), speed=speed).to(device)
    fuse_image_encoder(encoder, way, way)
    tokens = sam.encode(images.to(device))
    assert tokens.device.type == device.type and tokens.dtype == torch.float32
    return tokens.cpu()


@on_each_device
@pytest.mark.parametrize("way", ["bias", "channels", "auto"])
def test_exact_encoder(images: Tensor, want_tokens: Tensor, way: str, device: torch.device) -> None:
    assert relative_error(tokens_on(device, images, "exact", way), want_tokens) < 1e-4


@on_each_device
@pytest.mark.parametrize("way", ["bias", "channels", "auto"])
def test_fast_encoder(images: Tensor, want_tokens: Tensor, way: str, device: torch.device) -> None:
    tokens = tokens_on(device, images, "fast", way)
    assert float(F.cosine_similarity(tokens, want_tokens, dim=1).mean()) > 0.999


@only_on_gpu
def test_compiled_encoder(images: Tensor, want_tokens: Tensor, device: torch.device) -> None:
    tokens = tokens_on(device, images, "max", "auto")
    assert float(F.cosine_similarity(tokens, want_tokens, dim=1).mean()) > 0.999


@on_each_device
def test_masked_decode_and_adapter_step(tiny_sam: FrozenSam, device: torch.device) -> None:
    """A batch of faces with different numbers of points, against each face alone on the CPU."""
    faces = [prompts_of(seed, count) for seed, count in enumerate((9, 30, 1))]
    torch.manual_seed(1)
    adapter = PromptAdapter(32)
    alone = [decoded_with_gradients(tiny_sam, adapter, [face], CPU) for face in faces]
    got = decoded_with_gradients(tiny_sam, adapter, faces, device)
    for index, (face, want) in enumerate(zip(faces, alone)):
        assert relative_error(got.low_res_logits[index], want.low_res_logits[0]) < 1e-3
        points = got.point_logits[index, : len(face.points_sam)]
        assert relative_error(points, want.point_logits[0]) < 1e-3
    for gradient, *of_faces in zip(got.gradients, *(want.gradients for want in alone)):
        assert relative_error(gradient, torch.stack(of_faces).sum(dim=0)) < 1e-3


@dataclass(frozen=True, eq=False)
class DecodedFaces:
    """What ``decoded_with_gradients`` computes, of B faces."""

    low_res_logits: Tensor
    point_logits: Tensor
    gradients: list[Tensor]


def decoded_with_gradients(
    tiny_sam: FrozenSam, adapter: PromptAdapter, faces: list[Prompts], device: torch.device
) -> DecodedFaces:
    trained = copy.deepcopy(adapter).to(device)
    batch = batch_prompts([face.to(device) for face in faces])
    segmenter = OcclusionSegmenter(copy.deepcopy(tiny_sam).to(device))
    low_res_logits = segmenter.decode(batch, segmenter.refine_prompts(trained, batch)[0])
    point_logits = segmenter.predict_point_logits(trained, batch)
    point_losses(point_logits, batch.point_labels).total.sum().backward()
    gradients = [parameter.grad for parameter in trained.parameters()]
    return DecodedFaces(low_res_logits.detach(), point_logits.detach(), gradients)


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, the CPU matches in rounds, as a GPU does."""
    return lambda: monkeypatch.setattr(
        greedy, "_suits_rounds", lambda scores: scores.dtype == torch.float32
    )


@on_each_device
@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (300, 1024), (1500, 4096)])
def test_matching(shape: tuple[int, int], rounds: Callable[[], None], device: torch.device) -> None:
    if device == CPU:
        shape = (shape[0] // 4, shape[1] // 4)
    generator = torch.Generator().manual_seed(shape[0])
    several = [torch.randint(levels, shape, generator=generator).float() for levels in (7, 2**24)]
    wanted = [greedy_match(scores) for scores in several]
    rounds()
    for scores, want in zip(several, wanted):
        for got, indices in zip(greedy_match(scores.to(device)), want):
            assert torch.equal(got.cpu(), indices)


@on_each_device
def test_matching_of_several(rounds: Callable[[], None], device: torch.device) -> None:
    generator = torch.Generator().manual_seed(3)
    matrices = [torch.rand(shape, generator=generator) for shape in ((5, 9), (70, 64), (1, 1))]
    wanted = [greedy_match(scores) for scores in matrices]
    rounds()
    for got, want in zip(greedy_match_many([scores.to(device) for scores in matrices]), wanted):
        assert torch.equal(got[0].cpu(), want[0])
        assert torch.equal(got[1].cpu(), want[1])


@pytest.fixture(scope="module")
def faces() -> list[FaceSample]:
    return [draw_face(index, 256, "bench") for index in range(3)]


@pytest.mark.slow
@on_each_device
def test_parser_and_generator(faces: list[FaceSample], device: torch.device) -> None:
    """A batch against single images on the CPU."""
    images = torch.stack([to_tensor(face.raw) for face in faces])
    config = load_config(overrides=MINI)
    parser = build_face_parser(config, CPU)
    labels = torch.cat([parser.parse(image[None]) for image in images])
    got_labels = build_face_parser(config, device).parse(images.to(device))
    assert float((labels == got_labels.cpu()).float().mean()) > 0.999
    inverter = build_inverter(config, CPU)
    want = torch.cat([inverter.invert(image[None], of[None]) for image, of in zip(images, labels)])
    got = build_inverter(config, device).invert(images.to(device), labels.to(device))
    assert relative_error(got, want) < 1e-2


def visible_faces(
    device: torch.device, speed: str, faces: list[FaceSample], at_once: int
) -> list[Tensor]:
    """Segment images with the bundled models, some at once; masks are bool (S, S)."""
    config = load_config(overrides=[*MINI, f"run.speed={speed}"])
    sam = build_segmenter(config, device).sam
    segmenter = OcclusionSegmenter(sam, images_at_once=at_once)
    adapter = new_adapter(config, sam, weights_path(config, "adapter")).eval()
    inputs = [
        segmenter.prepare(AlignedFace("face", face.raw, face.labels, face.clean)) for face in faces
    ]
    with torch.no_grad():
        return [
            segmenter.predict_visible_face(adapter, prompts).logits_sam > 0
            for prompts in segmenter.select_prompts(inputs)
        ]


@pytest.fixture(scope="module")
def masks_on_cpu(faces: list[FaceSample]) -> list[Tensor]:
    return visible_faces(CPU, "exact", faces, at_once=1)


@pytest.mark.slow
@on_each_device
@pytest.mark.parametrize(("speed", "least"), [("exact", 0.999), ("fast", 0.99)])
def test_masks(
    faces: list[FaceSample],
    masks_on_cpu: list[Tensor],
    speed: str,
    least: float,
    device: torch.device,
) -> None:
    masks = visible_faces(device, speed, faces, at_once=4)
    scores = [overlap(mask, want) for mask, want in zip(masks, masks_on_cpu)]
    assert sum(scores) / len(scores) >= least, scores


def on_device(options: list[str], device: torch.device) -> list[str]:
    kept = [option for option in options if not option.startswith("run.device")]
    return [*kept, f"run.device={device.type}"]


@pytest.mark.slow
@on_each_device
def test_generate_reference(tmp_path: Path, mini_options: list[str], device: torch.device) -> None:
    """Several photos, which a GPU takes together, against each alone on the CPU."""
    random = np.random.default_rng(0)
    for name in "abc":
        pixels = random.integers(0, 256, (64, 64, 3)).astype(np.uint8)
        write_png(tmp_path / "in" / f"{name}.png", pixels)
    got, want = tmp_path / "got", tmp_path / "want"
    arguments = ["--input_dir", str(tmp_path / "in"), "--output_dir", str(got)]
    assert generate_reference.main([*arguments, *on_device(mini_options, device)]) == 0
    for name in "abc":
        photo = ["--input_dir", str(tmp_path / "in" / f"{name}.png"), "--output_dir", str(want)]
        assert generate_reference.main([*photo, *mini_options]) == 0
        pictures = [read_rgb(folder / f"{name}_ref.png").astype(int) for folder in (got, want)]
        assert np.abs(pictures[0] - pictures[1]).mean() < 2


@pytest.mark.slow
@on_each_device
def test_train_infer_evaluate(
    tmp_path: Path,
    mini_options: list[str],
    processed_folder: Callable[..., Path],
    device: torch.device,
) -> None:
    folder, options = processed_folder(3), on_device(mini_options, device)
    trained = tmp_path / "trained"
    data = ["--datapath", str(folder)]
    arguments = [*data, "--output_dir", str(trained), "--bsz", "2", "--epochs", "2"]
    assert train_general.main([*arguments, *options]) == 0
    results = tmp_path / "results"
    checkpoint = ["--checkpoint", str(trained / "model_epoch_2.pth")]
    arguments = [*data, "--output_dir", str(results), *checkpoint, "--save_vis"]
    assert inference.main([*arguments, *options]) == 0
    assert len(list(results.glob("*_occlusion.png"))) == 3
    assert evaluate.main([*data, "--results", str(results), *options]) == 0
    arguments = [*data, "--output_dir", str(tmp_path / "each"), "--epochs", "2"]
    assert train_per_image.main([*arguments, *options]) == 0
    assert len(list((tmp_path / "each").glob("*_occlusion.png"))) == 3


@on_each_device
def test_a_step_with_exchanged_gradients(
    tiny_sam: FrozenSam, monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    """The exchange of a single process, by NCCL or gloo, changes nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in (("RANK", 0), ("WORLD_SIZE", 1), ("MASTER_PORT", port)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    segmenter = OcclusionSegmenter(copy.deepcopy(tiny_sam).to(device))
    faces = [prompts_of(seed, 9 + seed).to(device) for seed in range(3)]
    torch.manual_seed(0)
    adapter = PromptAdapter(32).to(device)
    plain = step_of(segmenter, copy.deepcopy(adapter), faces, Process(device), is_exchanged=False)
    device = pick_device(device.type)
    with joined(Place(), device) as process:
        backend = "nccl" if device.type == "cuda" else "gloo"
        assert distributed.get_backend() == backend
        exchanged = step_of(segmenter, adapter, faces, process, is_exchanged=True)
    for got, want in zip(exchanged, plain):
        assert relative_error(got, want) < 1e-3


def step_of(
    segmenter: OcclusionSegmenter,
    adapter: PromptAdapter,
    faces: list[Prompts],
    process: Process,
    is_exchanged: bool,
) -> list[Tensor]:
    """Take a training step; the gradients of the adapter's parameters."""
    trainer = AdapterTrainer(segmenter, adapter, load_config(overrides=MINI), 1, process)
    sums = LossSums(process)
    images = range(len(faces))
    if is_exchanged:
        trainer.wrapped = DistributedDataParallel(adapter)  # as for several processes
        trainer._exchanged_step(faces.__getitem__, images, sums)
    else:
        trainer._step(faces.__getitem__, images, sums, map)
    return [parameter.grad for parameter in adapter.parameters()]
