"""Small random decoders and adapters in Hugging Face layout, and what transformers and PEFT make of them.

    pip install torch transformers peft safetensors && python make.py

Each folder beside this file is a model; `adapter-*` in it are its adapters; `expected.json` holds prompts, and for the
model alone ("") and for each adapter the last position's f32 logits and the largest error of the same in bf16.
"""
import json
import pathlib
import shutil

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

HERE = pathlib.Path(__file__).parent
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LENGTHS = [1, 2, 7, 19, 45]
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}

MODELS = {
    "llama3": dict(
        kind=LlamaForCausalLM, dtype=torch.float32, shards="60KB",
        config=LlamaConfig(
            vocab_size=95, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=6,
            num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, rope_parameters=LLAMA3,
            tie_word_embeddings=False, bos_token_id=1, eos_token_id=2),
        adapters={"all": dict(r=8, lora_alpha=16, target_modules=SEVEN),
                  "qv": dict(r=3, lora_alpha=5, use_rslora=True, target_modules=["q_proj", "v_proj"])}),
    "qwen2": dict(
        kind=Qwen2ForCausalLM, dtype=torch.bfloat16, shards="5GB",
        config=Qwen2Config(
            vocab_size=90, hidden_size=32, intermediate_size=72, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=True,
            bos_token_id=1, eos_token_id=2),
        adapters={"all": dict(r=6, lora_alpha=12, use_rslora=True, target_modules=SEVEN)}),
    "llama2": dict(
        kind=LlamaForCausalLM, dtype=torch.float16, shards="5GB", old_config=True,
        config=LlamaConfig(
            vocab_size=50, hidden_size=40, intermediate_size=56, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, head_dim=18, attention_bias=True, max_position_embeddings=64, rms_norm_eps=1e-5,
            tie_word_embeddings=False, bos_token_id=1, eos_token_id=2),
        adapters={"mlp": dict(r=5, lora_alpha=7, target_modules=["o_proj", "down_proj", "up_proj"])}),
}


def shake(model, scale):
    """Draws every weight anew, so that no bias is 0 and no norm is 1."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            draw = torch.randn_like(weight)
            if weight.dim() == 2:
                weight.copy_(scale * draw / weight.shape[1] ** 0.5)
            else:
                weight.copy_((1.0 if "norm" in name else 0.0) + 0.2 * draw)


def old_style(path):
    """The keys of files that are older than `rope_parameters` and `dtype`."""
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config.update(rope_theta=rope["rope_theta"], rope_scaling=None, torch_dtype=config.pop("dtype"))
    path.write_text(json.dumps(config, indent=2) + "\n")


def logits(model, prompts):
    with torch.inference_mode():
        return [model(torch.tensor([prompt])).logits[0, -1].float() for prompt in prompts]


def both(load, prompts):
    """f32 logits, and the largest error of bf16."""
    exact, rough = (logits(load(dtype), prompts) for dtype in (torch.float32, torch.bfloat16))
    error = max((a - b).abs().max().item() for a, b in zip(exact, rough))
    return {"logits": [row.tolist() for row in exact], "bf16_error": error}


def make(name, kind, config, dtype, shards, adapters, old_config=False):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model = kind(config)
    shake(model, 1.5)
    model.to(dtype).save_pretrained(folder, max_shard_size=shards)
    if old_config:
        old_style(folder / "config.json")
    (folder / "generation_config.json").unlink(missing_ok=True)
    prompts = [torch.randint(0, config.vocab_size, (length,)).tolist() for length in LENGTHS]

    def load(dtype):
        return kind.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()

    expected = {"prompts": prompts, "": both(load, prompts)}
    for adapter, settings in adapters.items():
        at = folder / f"adapter-{adapter}"
        tuned = get_peft_model(load(torch.float32), LoraConfig(init_lora_weights=False, task_type="CAUSAL_LM", **settings))
        tuned.save_pretrained(at)
        (at / "README.md").unlink(missing_ok=True)
        saved = json.loads((at / "adapter_config.json").read_text())
        saved["base_model_name_or_path"] = name
        saved["target_modules"] = sorted(saved["target_modules"])
        (at / "adapter_config.json").write_text(json.dumps(saved, indent=2) + "\n")
        expected[adapter] = both(lambda dtype: PeftModel.from_pretrained(load(dtype), at).eval(), prompts)
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")
    print(name, {key: value["bf16_error"] for key, value in expected.items() if key != "prompts"})


torch.manual_seed(0)
for name, settings in MODELS.items():
    make(name, **settings)
