"""Tiny autoencoders, text encoders and tokenizers with random weights, as their libraries write."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
)

from models.checkpoint import publish, save_checkpoint
from models.companions import Latent, Text, autoencoder_files, encoder_files, tokenizer_files
from models.manifest import Defaults, Diffusion, Manifest
from models.unet import TextAttention, UNet, UNetConfig

WIDTH = 32
WORDS = ("red", "blue", "square", "on", "grey", "a", "small", "large")


def write_autoencoder(folder: Path, *, kind: str = "kl", channels: int = 4, **options: Any) -> Path:
    """An autoencoder for RGB pictures that makes them half (KL) or a quarter as large."""
    torch.manual_seed(0)
    if kind == "kl":
        network = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            latent_channels=channels,
            **options,
        )
    else:
        network = AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8),
            decoder_block_out_channels=(8, 8, 8),
            num_encoder_blocks=(1, 1, 1),
            num_decoder_blocks=(1, 1, 1),
            latent_channels=channels,
            **options,
        )
    network.save_pretrained(folder)
    return folder


def write_bert(folder: Path, *, width: int = WIDTH, **options: Any) -> Path:
    """A BERT that knows `WORDS`, with its tokenizer in the same folder, as MiniLM comes."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        **options,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def write_clip(encoder: Path, tokenizer: Path, *, width: int = WIDTH, tokens: int = 77) -> None:
    """CLIP's text model and its byte-pair tokenizer, of letters alone."""
    tokenizer.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (tokenizer / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer.from_pretrained(tokenizer, model_max_length=tokens).save_pretrained(tokenizer)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=tokens,
        bos_token_id=len(words) - 2,
        eos_token_id=len(words) - 1,
        pad_token_id=len(words) - 1,
    )
    CLIPTextModel(config).save_pretrained(encoder)


def write_text_checkpoint(root: Path, name: str = "words", *, latent: bool = False) -> Path:
    """A published checkpoint that draws 8x8 (with ``latent`` 16x16) RGB pictures from texts."""
    torch.manual_seed(0)
    network = UNet(
        UNetConfig(
            channels=4 if latent else 3,
            size=(8, 8),
            block_channels=(8, 8),
            blocks_per_level=1,
            attention_levels=(False, True),
            norm_groups=4,
            text=TextAttention(width=WIDTH, heads=(2, 2), layers=(1, 1)),
        )
    )
    bert, vae = write_bert(root / ".bert"), write_autoencoder(root / ".vae")
    manifest = Manifest(
        name=name,
        step=1,
        network=network.config,
        diffusion=Diffusion(schedule="cosine", timesteps=1000, prediction="v", clip=not latent),
        defaults=Defaults(steps=5, guidance_scale=1.5),
        text=Text(tokens=8, examples=("a red square", "a blue square")),
        latent=Latent(size=(16, 16), channels=3, scale=0.5, preview=(0.1,) * 15)
        if latent
        else None,
    )
    companions = encoder_files(bert) | tokenizer_files(bert)
    companions |= autoencoder_files(vae) if latent else {}
    folder = save_checkpoint(root, manifest, weights=network.state_dict(), companions=companions)
    publish(root, name, 1)
    return folder
