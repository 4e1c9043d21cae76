"""The same mathematics in PyTorch, in the forms that PyTorch runs fastest.

PyTorch is asked for the loss and the gradients of the matrices. The gradient of the temperature, top-1 and top-5 are
left out here, though infonce computes them in the call that is timed.
"""

import torch
import torch.nn.functional as F
from presets import LOGIT_BIAS

EPSILON = 1e-12


def nt_xent(features, scale, cast):
    n = features.shape[0]
    unit = F.normalize(features, dim=1, eps=EPSILON)
    logits = cast(unit * scale) @ cast(unit).T
    rows = torch.arange(n, device=features.device)
    if torch.compiler.is_compiling():
        logits = torch.where(rows[:, None] == rows[None, :], float("-inf"), logits)  # fused into what reads it
    else:
        # In place and unseen by autograd: the probability of -inf is 0, and so is its gradient.
        logits.detach().fill_diagonal_(float("-inf"))
    return F.cross_entropy(logits, (rows + n // 2) % n)


def info_nce(query, key, scale, cast):
    query, key = F.normalize(query, dim=1, eps=EPSILON), F.normalize(key, dim=1, eps=EPSILON)
    logits = cast(query * scale) @ cast(key).T
    return F.cross_entropy(logits, torch.arange(len(query), device=query.device))


def hard_negatives(query, key, negative, scale, cast):
    candidates = F.normalize(torch.cat([key, negative]), dim=1, eps=EPSILON)
    logits = cast(F.normalize(query, dim=1, eps=EPSILON) * scale) @ cast(candidates).T
    return F.cross_entropy(logits, torch.arange(len(query), device=query.device))


def clip(image, text, scale, cast):
    image, text = F.normalize(image, dim=1, eps=EPSILON), F.normalize(text, dim=1, eps=EPSILON)
    logits = cast(image * scale) @ cast(text).T
    labels = torch.arange(len(image), device=image.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def sig_lip(image, text, scale, cast):
    """The sum over pairs of softplus(-y logit), y being 1 for pairs and -1 else, as softplus(logit) - logit of pairs."""
    image, text = F.normalize(image, dim=1, eps=EPSILON), F.normalize(text, dim=1, eps=EPSILON)
    logits = cast(image * scale) @ cast(text).T + LOGIT_BIAS
    return (F.softplus(logits).sum() - logits.diagonal().sum()) / len(image)


FUNCTIONS = {"ntXent": nt_xent, "infoNCE": info_nce, "hardNegatives": hard_negatives, "clip": clip, "sigLip": sig_lip}


def same(x):
    return x


def bfloat16(x):
    return x.bfloat16()


def loss_and_gradients(function, towers, scale, cast=same):
    """(loss, gradients); `towers` are leaves that require gradients."""
    loss = function(*towers, scale, cast)
    return loss.detach(), torch.autograd.grad(loss, towers)


def eager_float32(loss):
    return lambda towers, scale: loss_and_gradients(FUNCTIONS[loss], towers, scale)


def eager_autocast(loss):
    """The usual mixed precision: products in bfloat16, the softmax in float32."""

    def call(towers, scale):
        with torch.autocast(towers[0].device.type, dtype=torch.bfloat16):
            return loss_and_gradients(FUNCTIONS[loss], towers, scale)

    return call


def eager_bfloat16(loss):
    """bfloat16 logits all the way: fewer bytes, and only three digits of every logit."""
    return lambda towers, scale: loss_and_gradients(FUNCTIONS[loss], towers, scale, bfloat16)


def compiled(loss, cast):
    """torch.compile of forward and backward, for one shape: dynamic shapes would be slower."""
    function = torch.compile(FUNCTIONS[loss], dynamic=False)
    return lambda towers, scale: loss_and_gradients(function, towers, scale, cast)


def forget_compiled():
    """torch.compile stops after a few shapes of a function unless those before are forgotten."""
    if hasattr(torch, "compile"):
        torch._dynamo.reset()


def compiled_autocast(loss):
    call = compiled(loss, same)

    def within(towers, scale):
        with torch.autocast(towers[0].device.type, dtype=torch.bfloat16):
            return call(towers, scale)

    return within


# name -> (what it is compared with, how to make it)
CONTESTANTS = {
    "eager float32": ("highest", eager_float32),
    "compile float32": ("highest", lambda loss: compiled(loss, same)),
    "eager bf16 autocast": ("medium", eager_autocast),
    "eager bf16 tensors": ("medium", eager_bfloat16),
    "compile bf16 autocast": ("medium", compiled_autocast),
    "compile bf16 tensors": ("medium", lambda loss: compiled(loss, bfloat16)),
}
