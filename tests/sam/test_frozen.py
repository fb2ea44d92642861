from __future__ import annotations

import pytest
import torch

from s3pot.sam.frozen import FrozenSam


def test_pictures_are_normalized_as_sam_does(tiny_sam: FrozenSam) -> None:
    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        want = tiny_sam.sam.image_encoder(
            torch.stack([tiny_sam.sam.preprocess(one * 255) for one in picture])
        )
        plain = tiny_sam.sam.image_encoder(picture)
    torch.testing.assert_close(tiny_sam.encode(picture), want)
    torch.testing.assert_close(FrozenSam(tiny_sam.sam, normalize=False).encode(picture), plain)


def test_another_size_is_refused(tiny_sam: FrozenSam) -> None:
    with pytest.raises(ValueError, match="takes 64 x 64"):
        tiny_sam.encode(torch.zeros(1, 3, 32, 64))


def test_a_compiled_encoder_gets_batches_of_one_size(tiny_sam: FrozenSam) -> None:
    sizes = []
    sam = FrozenSam(tiny_sam.sam)
    sam.speed = "max"  # without compiling
    images = torch.rand(4, 3, 64, 64)
    hook = sam.sam.image_encoder.register_forward_pre_hook(
        lambda module, inputs: sizes.append(len(inputs[0]))
    )
    with hook:
        tokens = [sam.encode(images[:count]) for count in (2, 1, 4, 3)]
    assert sizes == [2, 2, 4, 4]
    assert [len(of_batch) for of_batch in tokens] == [2, 1, 4, 3]
    torch.testing.assert_close(tokens[1], tokens[0][:1])
    torch.testing.assert_close(tokens[3], tokens[2][:3])
    assert sam.encode(images[:0]).shape[0] == 0


def test_a_batch_that_does_not_fit_into_memory_does_not_enlarge_later_ones(
    tiny_sam: FrozenSam,
) -> None:
    sam = FrozenSam(tiny_sam.sam)
    sam.speed = "max"  # without compiling

    def without_memory(module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if len(inputs[0]) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    images = torch.rand(4, 3, 64, 64)
    with sam.sam.image_encoder.register_forward_pre_hook(without_memory):
        with pytest.raises(torch.cuda.OutOfMemoryError):
            sam.encode(images)
        for count in (1, 2, 1):
            assert len(sam.encode(images[:count])) == count


def test_points_get_a_pad_token(tiny_sam: FrozenSam) -> None:
    points = torch.tensor([[[3.0, 4.0], [50.0, 60.0]], [[9.0, 9.0], [0.0, 0.0]]])
    labels = torch.tensor([[1, 0], [0, -1]])
    tokens = tiny_sam.embed_points(points, labels)
    assert tokens.shape == (2, 3, 32)
    want = tiny_sam.sam.prompt_encoder((points, labels.float()), None, None)[0]
    assert torch.equal(tokens, want)
    none = tiny_sam.embed_points(points[:, :0], labels[:, :0])
    torch.testing.assert_close(none[:, 0], tokens[:, -1])


def test_nothing_trains_but_gradients_pass(tiny_sam: FrozenSam) -> None:
    assert not [name for name, p in tiny_sam.named_parameters() if p.requires_grad]
    tokens = torch.randn(1, 3, 32, requires_grad=True)
    tiny_sam.decode(torch.randn(1, 32, 8, 8), tokens).logits.sum().backward()
    assert tokens.grad is not None
    assert bool(tokens.grad.any())
