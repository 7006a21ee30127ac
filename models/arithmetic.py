"""Which arithmetic a device has instructions for."""

import torch


def computes_bfloat16(device: torch.device) -> bool:
    """Whether it has instructions for bfloat16; one that has none takes many times as long."""
    if device.type != "cpu":
        return True
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def in_bfloat16(device: torch.device, *, wanted: bool = True) -> torch.autocast:
    """Multiply in bfloat16, if that is wanted and the device computes in it."""
    # A cache of casts would gain nothing, every weight being used once; threads would share it.
    return torch.autocast(
        device.type,
        torch.bfloat16,
        enabled=wanted and computes_bfloat16(device),
        cache_enabled=False,
    )
