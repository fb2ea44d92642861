"""The prompt adapter (paper section 3.3): one self-attention layer over prompt tokens.

The adapter is the only part that is trained.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

# Release: 24 tensors are saved but only the six of this layer are used; the others belong to a
# second self-attention and two cross-attentions.
_AUTHORS = "transformer_decoder.transformer_self_attention_layers_0.0."


class PromptAdapter(nn.Module):
    """Multi-head self-attention with a residual and a LayerNorm after it; no positions, no dropout.

    Args:
        width: Channels of a prompt token.
        heads: Attention heads.
    """

    def __init__(self, width: int = 256, heads: int = 4) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self, prompts: Tensor, prompt_mask: Tensor | None = None, need_weights: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Refine prompt tokens.

        Args:
            prompts: (B, N, width).
            prompt_mask: bool (B, N), False for prompts that only pad the batch: nothing attends to
                them, and their own rows are meaningless. None if there is no padding.
            need_weights: Return the attention weights; without them a faster fused kernel is used.

        Returns:
            Refined prompts, (B, N, width), and attention weights averaged over the heads,
            (B, N, N), whose rows sum to 1; None without ``need_weights``.
        """
        padding = None if prompt_mask is None else ~prompt_mask
        mixed, weights = self.self_attn(
            prompts, prompts, prompts, key_padding_mask=padding, need_weights=need_weights
        )
        return self.norm(prompts + mixed), weights


def from_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate a state dict of the release to this module's keys; others keep their keys.

    Args:
        state: Keys as in the authors' ``model_epoch_N.pth``, or as in this module; a leading
            ``module.`` is dropped.
    """
    state = {key[7:] if key.startswith("module.") else key: value for key, value in state.items()}
    used = {k[len(_AUTHORS) :]: v for k, v in state.items() if k.startswith(_AUTHORS)}
    return used or state
