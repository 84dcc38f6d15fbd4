"""Which number format the hardware multiplies fastest."""

from __future__ import annotations

from typing import Literal

import torch


def best_precision(accelerator: str) -> Literal["bf16-mixed", "32-true"]:
    """bf16-mixed where the device has bfloat16 arithmetic of its own, else 32-true.

    Args:
        accelerator: Lightning's name of it: "auto", "cpu", "gpu", "cuda" ...
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator in ("auto", "cpu") and _cpu_has_bfloat16():
        return "bf16-mixed"
    return "32-true"


def _cpu_has_bfloat16() -> bool:
    # torch has no public question for this; without the instructions bfloat16 is slower than float32.
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def use_tf32(allowed: bool) -> None:
    """Says for the whole program whether GPUs may multiply float32 numbers in TF32."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
