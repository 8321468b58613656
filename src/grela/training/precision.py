"""In what number format products are formed."""

import torch


def product_dtype(precision: str, device: torch.device) -> torch.dtype:
    """bfloat16 for "bf16", float32 for "fp32"; "auto" is bfloat16 where the device multiplies it natively."""
    if precision == "auto":
        return torch.bfloat16 if _multiplies_bf16(device) else torch.float32
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
