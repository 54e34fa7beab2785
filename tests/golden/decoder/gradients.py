"""Gradients of the golden models by PyTorch, and an adapter with trained token rows by PEFT.

    pip install torch transformers peft safetensors && python gradients.py

For each model beside this file, with every weight trained ("full") and with an adapter and token rows ("rows", written to
`adapter-rows`): `gradients.json` holds prompts, labels, relevance, and for both the labels' logits and the pairwise
logistic loss; `gradients-*.safetensors` holds every fifth number of each tensor's gradient.
"""
import json
import pathlib
import shutil

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaForCausalLM, Qwen2ForCausalLM

HERE = pathlib.Path(__file__).parent
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MODELS = {
    "llama3": (LlamaForCausalLM, dict(r=4, lora_alpha=8, target_modules=SEVEN)),
    "qwen2": (Qwen2ForCausalLM, dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "o_proj", "down_proj"])),
    "llama2": (LlamaForCausalLM, dict(r=2, lora_alpha=2, use_rslora=True, target_modules=["k_proj", "up_proj"])),
}
LABELS = [7, 3, 11, 30, 41]
TOKENS = [9, 3, 20]  # 3 is a label too
PROMPTS = [[5, 9, 9, 31, 20, 8, 1, 44, 2, 3], [12, 20, 7, 13, 37, 21], [3], [9, 40, 20, 11] * 8]
RELEVANCE = [[2.0, 0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 3.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0, 0.0]]


def loss_of(logits):
    total, pairs = torch.zeros(()), 0
    for scores, relevance in zip(logits, RELEVANCE):
        for i, high in enumerate(relevance):
            for j, low in enumerate(relevance):
                if high > low:
                    total = total + torch.nn.functional.softplus(scores[j] - scores[i])
                    pairs += 1
    return total / max(pairs, 1)


def measure(model, path):
    logits = torch.stack([model(torch.tensor([prompt])).logits[0, -1, LABELS] for prompt in PROMPTS])
    loss = loss_of(logits)
    loss.backward()
    rename = lambda name: name.replace(".default", "").replace("base_model.model.", "", 1)
    trained = {rename(name): weight for name, weight in model.named_parameters() if weight.requires_grad}
    save_file({name: weight.grad.flatten()[::5].clone() for name, weight in trained.items()}, path)
    return {"loss": loss.item(), "logits": logits.tolist()}


torch.manual_seed(1)
for name, (kind, settings) in MODELS.items():
    folder = HERE / name
    load = lambda: kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    result = {"prompts": PROMPTS, "labels": LABELS, "relevance": RELEVANCE, "tokens": TOKENS}
    result["full"] = measure(load(), folder / "gradients-full.safetensors")
    tuned = get_peft_model(
        load(), LoraConfig(init_lora_weights=False, task_type="CAUSAL_LM", trainable_token_indices=TOKENS, **settings))
    with torch.no_grad():
        for parameter, weight in tuned.named_parameters():
            if "trainable_tokens_delta" in parameter:
                weight.add_(0.3 * torch.randn_like(weight))
    at = folder / "adapter-rows"
    shutil.rmtree(at, ignore_errors=True)
    tuned.save_pretrained(at)
    (at / "README.md").unlink(missing_ok=True)
    saved = json.loads((at / "adapter_config.json").read_text())
    saved["base_model_name_or_path"] = name
    saved["target_modules"] = sorted(saved["target_modules"])
    (at / "adapter_config.json").write_text(json.dumps(saved, indent=2) + "\n")
    again = PeftModel.from_pretrained(load(), at, is_trainable=True).eval()
    result["rows"] = measure(again, folder / "gradients-rows.safetensors")
    (folder / "gradients.json").write_text(json.dumps(result) + "\n")
    print(name, {key: result[key]["loss"] for key in ("full", "rows")})
