"""A preset with everything that ``micro`` has and a hundredth of its size: a language model with random weights and a
byte-level tokenizer of its own, for tests of loading and of training."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from lisa_micro.models.checkpoints import save_module
from lisa_micro.models.lisa.build import PARTS, build_lisa
from lisa_micro.models.lisa.config import LisaConfig

CHAT_MARKS = ("<|im_start|>", "<|im_end|>")


def write_language_model(folder: Path, hidden: int = 32) -> None:
    """A Llama with random weights and a byte-level tokenizer with the chat format's marks, as transformers saves
    them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: k for k, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=CHAT_MARKS[1], pad_token=CHAT_MARKS[1])
    fast.add_special_tokens({"additional_special_tokens": list(CHAT_MARKS)})
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
        max_position_embeddings=2048,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def write_preset(folder: Path, seed: int = 0) -> Path:
    """The preset's folder; its language model lies in ``folder/lm``."""
    from peft import get_peft_model_state_dict

    from lisa_micro.models.lisa.build import add_lora

    folder.mkdir(parents=True, exist_ok=True)
    write_language_model(folder / "lm")
    config = LisaConfig(
        name="tiny",
        base_lm=str(folder / "lm"),
        clip_side=1,
        sam_side=1,
        embed_dim=32,
        depth=1,
        work_side=64,
        least_side=64,
        lora={"rank": 2, "alpha": 4, "dropout": 0.0},
    )
    torch.manual_seed(seed)
    model, _ = build_lisa(config, lora=False)
    language = add_lora(model.language, config.lora)
    state = get_peft_model_state_dict(language)
    generator = torch.Generator().manual_seed(seed + 1)
    # B is 0 in a fresh adapter, which would hide a mistake in its use
    lora = {name: 0.05 * torch.randn(value.shape, generator=generator) for name, value in state.items()}
    save_module(lora, folder / "lora.safetensors")
    for part in PARTS:
        save_module(getattr(model, part).state_dict(), folder / f"{part}.safetensors")
    (folder / "config.json").write_text(json.dumps(config.model_dump(mode="json")))
    return folder
