"""Every stage on a GPU against the CPU; ``pytest -m gpu`` runs these."""

from __future__ import annotations

import copy
from collections.abc import Iterator
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
from s3pot.losses import point_losses
from s3pot.pipeline import OcclusionSegmenter, batch_prompts
from s3pot.ps.greedy import greedy_match, greedy_match_many
from s3pot.sam.attention import fuse_image_encoder
from s3pot.sam.frozen import FrozenSam
from s3pot.training.checkpoint import new_adapter
from s3pot.types import AlignedFace
from s3pot_synthetic import draw_face
from s3pot_synthetic.sample import FaceSample

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

CPU, GPU = torch.device("cpu"), torch.device("cuda")
MINI = ["model.set=mini", "model.sam=mini", "align.mode=never"]


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


def vit(width: int = 160, heads: int = 2, side: int = 32, window: int = 14) -> ImageEncoderViT:
    """An image encoder of two blocks with random weights; ViT-H's head and windows."""
    torch.manual_seed(0)
    encoder = ImageEncoderViT(
        img_size=side * 16,
        embed_dim=width,
        depth=2,
        num_heads=heads,
        use_rel_pos=True,
        window_size=window,
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
        self.prompt_encoder.image_embedding_size = (32, 32)
        self.register_buffer("pixel_mean", torch.full((3, 1, 1), 127.0))
        self.register_buffer("pixel_std", torch.full((3, 1, 1), 58.0))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 3, 512, 512, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def want_tokens(images: Tensor) -> Tensor:
    return vit()((images * 255 - 127.0) / 58.0)


@pytest.mark.parametrize("way", ["bias", "channels", "auto"])
def test_exact_encoder(images: Tensor, want_tokens: Tensor, way: str) -> None:
    encoder = vit()
    sam = FrozenSam(PlainSam(encoder)).to(GPU)
    fuse_image_encoder(encoder, way, way)
    assert relative_error(sam.encode(images.to(GPU)), want_tokens) < 1e-4


def cosine_with(want_tokens: Tensor, images: Tensor, speed: str, way: str) -> float:
    """Similarity of an encoder's tokens to those of the CPU in float32."""
    encoder = vit()
    sam = FrozenSam(PlainSam(encoder), speed=speed).to(GPU)
    fuse_image_encoder(encoder, way, way)
    tokens = sam.encode(images.to(GPU)).cpu()
    assert tokens.dtype == torch.float32
    return float(F.cosine_similarity(tokens, want_tokens, dim=1).mean())


@pytest.mark.parametrize("way", ["bias", "channels", "auto"])
def test_fast_encoder(images: Tensor, want_tokens: Tensor, way: str) -> None:
    assert cosine_with(want_tokens, images, "fast", way) > 0.999


def test_masked_decode_and_adapter_step(tiny_sam: FrozenSam) -> None:
    faces = [prompts_of(seed, count) for seed, count in enumerate((9, 30, 1))]
    torch.manual_seed(1)
    adapter = PromptAdapter(32)
    results = []
    for device in (CPU, GPU):
        sam = copy.deepcopy(tiny_sam).to(device)
        trained = copy.deepcopy(adapter).to(device)
        batch = batch_prompts([face.to(device) for face in faces])
        segmenter = OcclusionSegmenter(sam)
        low_res_logits = segmenter.decode(batch, segmenter.refine_prompts(trained, batch)[0])
        logits = segmenter.predict_point_logits(trained, batch)
        point_losses(logits, batch.point_labels).total.sum().backward()
        gradients = [parameter.grad for parameter in trained.parameters()]
        results.append([low_res_logits.detach(), logits.detach(), *gradients])
    for on_gpu, on_cpu in zip(results[1], results[0]):
        assert relative_error(on_gpu, on_cpu) < 1e-3


@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (300, 1024), (1500, 4096)])
def test_matching(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(shape[0])
    for levels in (7, 2**24):
        scores = torch.randint(levels, shape, generator=generator).float()
        for got, want in zip(greedy_match(scores.to(GPU)), greedy_match(scores)):
            assert torch.equal(got.cpu(), want)


def test_matching_of_several() -> None:
    generator = torch.Generator().manual_seed(3)
    matrices = [torch.rand(shape, generator=generator) for shape in ((5, 9), (70, 64), (1, 1))]
    on_gpu = greedy_match_many([scores.to(GPU) for scores in matrices])
    for got, want in zip(on_gpu, greedy_match_many(matrices)):
        assert torch.equal(got[0].cpu(), want[0])
        assert torch.equal(got[1].cpu(), want[1])


@pytest.fixture(scope="module")
def faces() -> list[FaceSample]:
    return [draw_face(index, 256, "bench") for index in range(3)]


def test_parser_and_generator(faces: list[FaceSample]) -> None:
    images = torch.stack([to_tensor(face.raw) for face in faces])
    config = load_config(overrides=MINI)
    labels = build_face_parser(config, CPU).parse(images)
    on_gpu = build_face_parser(config, GPU).parse(images.to(GPU))
    assert float((labels == on_gpu.cpu()).float().mean()) > 0.999
    want = build_inverter(config, CPU).invert(images, labels)
    got = build_inverter(config, GPU).invert(images.to(GPU), labels.to(GPU))
    assert relative_error(got, want) < 1e-2


def visible_faces(device: torch.device, speed: str, faces: list[FaceSample]) -> list[Tensor]:
    """Segment images with the bundled models; masks are bool (S, S)."""
    config = load_config(overrides=[*MINI, f"run.speed={speed}"])
    segmenter = build_segmenter(config, device)
    adapter = new_adapter(config, segmenter.sam, weights_path(config, "adapter")).eval()
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
    return visible_faces(CPU, "exact", faces)


@pytest.mark.parametrize(("speed", "least"), [("exact", 0.999), ("fast", 0.99)])
def test_masks(
    faces: list[FaceSample], masks_on_cpu: list[Tensor], speed: str, least: float
) -> None:
    masks = visible_faces(GPU, speed, faces)
    scores = [overlap(mask, want) for mask, want in zip(masks, masks_on_cpu)]
    assert sum(scores) / len(scores) >= least, scores


def on_gpu(options: list[str]) -> list[str]:
    return [option for option in options if not option.startswith("run.device")] + [
        "run.device=cuda"
    ]


def test_generate_reference(tmp_path: Path, mini_options: list[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    write_png(tmp_path / "in" / "a.png", pixels)
    pictures = []
    for name, options in (("cpu", mini_options), ("gpu", on_gpu(mini_options))):
        folders = ["--input_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / name)]
        assert generate_reference.main([*folders, *options]) == 0
        pictures.append(read_rgb(tmp_path / name / "a_ref.png").astype(int))
    assert np.abs(pictures[0] - pictures[1]).mean() < 2


def test_train_infer_evaluate(
    tmp_path: Path, mini_options: list[str], processed_folder: Callable[..., Path]
) -> None:
    folder, options = processed_folder(3), on_gpu(mini_options)
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


def test_nccl_with_one_process(tmp_path: Path) -> None:
    torch.manual_seed(0)
    adapter = PromptAdapter(32).to(GPU)
    prompts = torch.randn(1, 6, 32, device=GPU)
    adapter(prompts)[0].square().sum().backward()
    want = [parameter.grad.clone() for parameter in adapter.parameters()]
    adapter.zero_grad()
    distributed.init_process_group(
        "nccl", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        wrapped = DistributedDataParallel(adapter, device_ids=[0])
        wrapped(prompts)[0].square().sum().backward()
    finally:
        distributed.destroy_process_group()
    for parameter, gradient in zip(adapter.parameters(), want):
        torch.testing.assert_close(parameter.grad, gradient)


def test_compiled_encoder(images: Tensor, want_tokens: Tensor) -> None:
    """Last, as compiling takes longest."""
    assert cosine_with(want_tokens, images, "max", "auto") > 0.999
