from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

from s3pot import api, build
from s3pot.config import Config, load_config
from s3pot.occlusion_decision import OcclusionDecision
from s3pot.quality import QualityLimits
from s3pot.sam import official
from s3pot.types import S3potError
from s3pot.weights.mini_set import read_mini, write_mini
from s3pot.weights.registry import PAPER_SET, weight_files

CPU = torch.device("cpu")


@pytest.fixture
def config(mini_options: list[str]) -> Config:
    return load_config(None, mini_options)


def test_mini_sam_is_frozen_and_float32(config: Config) -> None:
    sam = build.build_sam(config, CPU)
    assert sam.grid.size == 64
    assert sam.grid.side == 8
    assert not [name for name, p in sam.named_parameters() if p.requires_grad]
    assert {p.dtype for p in sam.parameters()} == {torch.float32}
    assert not any(module.training for module in sam.sam.modules())


def test_a_cpu_encodes_pairs_of_small_images_and_large_ones_alone(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build.build_segmenter(config, CPU).images_at_once == 2
    monkeypatch.setattr(build, "SMALL_IMAGE", 32)
    assert build.build_segmenter(config, CPU).images_at_once == 1


def test_only_a_gpu_generates_several_references_at_once_unless_their_noise_is_random(
    mini_options: list[str],
) -> None:
    config = load_config(None, [*mini_options, "sam.batch=5"])
    random_noise = load_config(None, [*mini_options, "sam.batch=5", "reference.noise=random"])
    gpu = torch.device("cuda")
    assert build.references_at_once(config, CPU) == 1
    assert build.references_at_once(config, gpu) == 5
    assert build.references_at_once(random_noise, gpu) == 1
    assert build.build_reference_generator(config, CPU).images_at_once == 1


def test_a_missing_compiler_is_reported_before_weights_are_read(
    mini_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*arguments: object) -> None:
        raise AssertionError("weights are read")

    monkeypatch.setattr(build, "has_compiler", lambda: False)
    monkeypatch.setattr(build, "read_mini", read)
    monkeypatch.setattr(build, "read_checkpoint", read)
    with pytest.raises(S3potError, match=r"no C\+\+ compiler .* or use run\.speed=fast"):
        build.build_sam(load_config(None, [*mini_options, "run.speed=max"]), CPU)


def test_all_files_are_looked_for_before_the_first_is_loaded(
    mini_options: list[str], mini_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*arguments: object) -> None:
        raise AssertionError("SAM is loaded")

    for path in mini_dir.glob("*.safetensors"):
        if path.stem != "generator":
            shutil.copy(path, tmp_path)
    monkeypatch.setattr(build, "build_sam", load)
    options = [*mini_options, f"model.weights_dir={tmp_path}"]
    with pytest.raises(S3potError, match="mini generator"):
        api.load_from_config(load_config(None, options))


def test_weights_are_those_of_the_file(config: Config, mini_dir: Path) -> None:
    stored = load_file(mini_dir / "sam.safetensors")
    loaded = build.build_sam(config, CPU).sam.state_dict()
    assert loaded.keys() == stored.keys()
    assert all(torch.equal(loaded[key], stored[key].float()) for key in stored)


def test_the_generic_sam_and_its_adapter_are_files_of_their_own(
    config: Config, mini_options: list[str], mini_dir: Path, tmp_path: Path
) -> None:
    for piece in ("sam", "adapter"):
        content = read_mini(piece, mini_dir)
        other = {key: value + 1 for key, value in content["state_dict"].items()}
        write_mini(tmp_path, f"{piece}_generic", content["size"], other)
    options = [*mini_options, "model.sam=mini_generic", f"model.weights_dir={tmp_path}"]
    generic = load_config(None, options)
    for piece in ("sam", "adapter"):
        path = build.weights_path(generic, piece)
        assert path == tmp_path / f"{piece}_generic.safetensors"
    assert build.weights_path(config, "sam") == mini_dir / "sam.safetensors"
    key = "mask_decoder.iou_token.weight"
    weights = build.build_sam(generic, CPU).sam.state_dict()[key]
    tuned = build.build_sam(config, CPU).sam.state_dict()[key]
    assert torch.allclose(weights, tuned + 1, atol=1e-2)


def test_config_reaches_sam(config: Config, mini_options: list[str]) -> None:
    other = load_config(None, [*mini_options, "sam.normalize=false"])
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    one, two = (build.build_sam(c, CPU).encode(picture) for c in (config, other))
    assert not torch.allclose(one, two)


def test_mini_parser_speaks_the_12_classes(config: Config) -> None:
    labels = build.build_face_parser(config, CPU).parse(torch.rand(1, 3, 80, 64))
    assert labels.shape == (1, 64, 64)
    assert labels.dtype == torch.uint8
    assert int(labels.max()) < 12


def test_mini_inverter_draws_a_face(config: Config) -> None:
    inverter = build.build_inverter(config, CPU)
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    labels[:, 16:48, 16:48] = 6
    picture = inverter.invert(torch.rand(1, 3, 64, 64), labels)
    assert picture.shape == (1, 3, 64, 64)
    assert 0 <= float(picture.min()) <= float(picture.max()) <= 1
    assert not [name for name, p in inverter.named_parameters() if p.requires_grad]


def test_adapter_has_sams_width(config: Config) -> None:
    adapter = build.build_adapter(build.build_sam(config, CPU))
    assert all(p.requires_grad for p in adapter.parameters())
    assert adapter(torch.zeros(1, 3, 32))[0].shape == (1, 3, 32)


def test_hashes_are_those_of_the_files(config: Config, mini_dir: Path) -> None:
    want = {
        piece: hashlib.sha256((mini_dir / f"{piece}.safetensors").read_bytes()).hexdigest()
        for piece in ("sam", "parser", "generator", "adapter")
    }
    assert build.model_hashes(config, want) == want


def test_all_missing_official_files_are_named_at_once_with_one_cure(tmp_path: Path) -> None:
    config = load_config(None, [f"model.weights_dir={tmp_path}"])
    makers = {
        "sam_vit_h": build.build_sam,
        "bisenet": build.build_face_parser,
        "e4s": build.build_inverter,
    }
    for needed, make in makers.items():
        with pytest.raises(S3potError) as caught:
            make(config, CPU)
        text = str(caught.value)
        head = f"4 weight files are missing in {tmp_path}, of which this command needs {needed}:"
        assert text.startswith(head)
        assert "download sam_vit_h bisenet e4s yunet" in text and "--config mini" in text
        for name in PAPER_SET:
            entry = weight_files()[name]
            assert f"{name} from {entry.url}\n" in text
            assert f"sha256 {entry.sha256 or 'not published'}" in text


def test_missing_files_that_another_command_needs_are_told_apart(tmp_path: Path) -> None:
    config = load_config(None, [f"model.weights_dir={tmp_path}"])
    with pytest.raises(S3potError, match="of which this command needs bisenet, e4s, yunet:"):
        build.model_hashes(config, build.models_of_references(config))
    with pytest.raises(S3potError) as caught:
        build.require_weights(config, build.models_of_photos(config))
    assert str(caught.value).startswith(f"4 weight files are missing in {tmp_path}:")


def test_what_is_there_or_not_needed_is_not_missing(tmp_path: Path) -> None:
    options = [f"model.weights_dir={tmp_path}", "align.mode=never", "model.parser=segnext"]
    (tmp_path / weight_files()["e4s"].file).touch()
    with pytest.raises(S3potError, match="2 weight files are missing") as caught:
        build.weights_path(load_config(None, options), "sam")
    assert "download sam_vit_h --weights_dir" in str(caught.value)
    assert "By hand:      segnext_small from SegNeXt" in str(caught.value)
    (tmp_path / weight_files()["segnext_small"].file).touch()
    with pytest.raises(S3potError, match="sam_vit_h: the file .*\n  run: "):
        build.weights_path(load_config(None, options), "sam")


def test_official_set_has_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(S3potError, match=r"train_general\.py"):
        build.weights_path(load_config(None, [f"model.weights_dir={tmp_path}"]), "adapter")


def test_weights_of_another_model_are_refused(
    mini_options: list[str], mini_dir: Path, tmp_path: Path
) -> None:
    parser = (mini_dir / "parser.safetensors").read_bytes()
    (tmp_path / "sam.safetensors").write_bytes(parser)
    config = load_config(None, [*mini_options, f"model.weights_dir={tmp_path}"])
    with pytest.raises(S3potError, match="mini-parser"):
        build.build_sam(config, CPU)


def test_settings_follow_the_config() -> None:
    config = load_config(
        None,
        ["prompt.initial_anchor=corner", "prompt.initial_pick=product", "prompt.features=encoder"]
        + ["mask.align_corners=false", "mask.sliver_width=0.1", "mask.min_piece=0.2"]
        + ["mask.min_share=0.3"],
    )
    found = build.pipeline_settings(config)
    assert (found.initial_anchor, found.initial_pick) == ("corner", "product")
    assert not found.attended
    assert not found.align_corners
    assert found.decision == OcclusionDecision(sliver_width=0.1, min_piece=0.2, min_share=0.3)
    limits = build.quality_limits(load_config(None, ["quality.strict=true"]))
    assert limits == QualityLimits(min_score=0.75, min_likeness=0, strict=True)
    assert build.pipeline_settings(load_config("paper")).decision == OcclusionDecision()


@pytest.mark.slow
def test_official_parsers_and_inverter_load_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The official branches, with random weights of the official sizes and other hashes."""
    from s3pot.rg.nets.bisenet import BiSeNet
    from s3pot.rg.nets.segnext import SegNeXt

    nets = {"bisenet": BiSeNet(), "segnext": SegNeXt("small")}
    for name, net in nets.items():
        path = tmp_path / f"{name}.pth"
        torch.save(net.state_dict(), path)
        monkeypatch.setattr(build, "locate", lambda piece, folder, path=path: path)
        parser = build.build_face_parser(load_config(None, [f"model.parser={name}"]), CPU)
        own = parser.net.state_dict()
        assert all(torch.equal(value, own[key]) for key, value in net.state_dict().items())
        assert len(parser.table) == 19


def small_official_sam() -> Sam:
    """A SAM with the official components at a tenth of their size."""
    encoder = ImageEncoderViT(
        img_size=128,
        embed_dim=32,
        depth=2,
        num_heads=2,
        out_chans=32,
        use_rel_pos=True,
        window_size=5,
        global_attn_indexes=(1,),
    )
    prompts = PromptEncoder(32, (8, 8), (128, 128), mask_in_chans=4)
    transformer = TwoWayTransformer(depth=2, embedding_dim=32, num_heads=4, mlp_dim=32)
    decoder = MaskDecoder(transformer_dim=32, transformer=transformer)
    return Sam(encoder, prompts, decoder, pixel_mean=[120.0, 110, 100], pixel_std=[58.0, 57, 56])


@pytest.mark.parametrize("speed", ["exact", "fast"])
def test_official_sam_encodes_as_pips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: str
) -> None:
    torch.manual_seed(0)
    sam = small_official_sam()
    for parameter in sam.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    torch.save(sam.state_dict(), tmp_path / "sam.pth")
    monkeypatch.setitem(official.sam_model_registry, "vit_b", small_official_sam)
    monkeypatch.setattr(build, "locate", lambda piece, folder: tmp_path / "sam.pth")
    built = build.build_sam(load_config(None, ["model.sam=vit_b", f"run.speed={speed}"]), CPU)
    assert not any(value.is_meta for value in [*built.parameters(), *built.buffers()])
    images = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        want = sam.image_encoder(sam.preprocess(images[0] * 255)[None])
    cosine = torch.nn.functional.cosine_similarity(built.encode(images), want, dim=1)
    assert float(cosine.min()) > (0.999999 if speed == "exact" else 0.99)


def test_missing_detectors_are_named_with_their_cure(
    tmp_path: Path, mini_options: list[str]
) -> None:
    mini = load_config(None, [*mini_options, "align.mode=auto"])
    with pytest.raises(S3potError, match="mini detector: the file .*python -m s3pot_mini"):
        build.build_aligner(mini)
    official = load_config(None, [f"model.weights_dir={tmp_path}"])
    with pytest.raises(S3potError, match="download .*yunet"):
        build.build_aligner(official)
    assert build.build_aligner(load_config(None, mini_options)).detector is None
