"""The GPT that torch_gpt.py and torch_step.py train."""

import torch
from torch import nn
from torch.nn import functional as F


def attention(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    hidden = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).triu(1)
    scores = q @ k.transpose(2, 3) / q.shape[3] ** 0.5
    return scores.masked_fill(hidden, -torch.inf).softmax(3) @ v


class Block(nn.Module):
    def __init__(self, features, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.attn, self.proj = nn.Linear(features, 3 * features), nn.Linear(features, features)
        self.up, self.down = nn.Linear(features, 4 * features), nn.Linear(4 * features, features)

    def forward(self, x):
        batch, length, features = x.shape
        parts = self.attn(self.ln_1(x)).split(features, 2)
        q, k, v = [p.view(batch, length, self.heads, -1).transpose(1, 2) for p in parts]
        y = attention(q, k, v)
        x = x + self.proj(y.transpose(1, 2).reshape(batch, length, features))
        return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, features, layers, heads, vocab, length):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, features), nn.Embedding(length, features)
        self.h = nn.ModuleList([Block(features, heads) for _ in range(layers)])
        self.ln_f = nn.LayerNorm(features)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.h:
            x = block(x)
        return self.ln_f(x) @ self.wte.weight.T
