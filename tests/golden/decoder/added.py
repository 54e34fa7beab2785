"""Adapters with rows of tokens that the model has not, as Steerage writes them, and their logits by PEFT.

    pip install torch transformers peft safetensors && python added.py

A re-ranker's control tokens follow the model's last row. Others' programs give the model as many rows more
(`resize_token_embeddings`) before they load the adapter. `adapter-added` in a model's folder is such an adapter, and
`added.json` holds prompts with the added tokens and the last position's f32 logits of the tokens the model has.
"""
import json
import pathlib
import shutil

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM, Qwen2ForCausalLM

HERE = pathlib.Path(__file__).parent
ADDED = 2


def load(kind, folder):
    model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    before = model.config.vocab_size
    model.resize_token_embeddings(before + ADDED, mean_resizing=False)
    return model.eval(), before


torch.manual_seed(2)
for name, kind in {"qwen2": Qwen2ForCausalLM, "llama2": LlamaForCausalLM}.items():
    folder = HERE / name
    model, before = load(kind, folder)
    tokens = [before + i for i in range(ADDED)]
    settings = LoraConfig(init_lora_weights=False, task_type="CAUSAL_LM", r=2, lora_alpha=4, target_modules=["q_proj"],
                          trainable_token_indices=tokens)
    tuned = get_peft_model(model, settings)
    with torch.no_grad():
        for parameter, weight in tuned.named_parameters():
            if "trainable_tokens_delta" in parameter:
                weight.copy_(torch.randn_like(weight))
    at = folder / "adapter-added"
    shutil.rmtree(at, ignore_errors=True)
    tuned.save_pretrained(at, save_embedding_layers=False)
    (at / "README.md").unlink(missing_ok=True)
    saved = json.loads((at / "adapter_config.json").read_text())
    saved["base_model_name_or_path"] = name
    (at / "adapter_config.json").write_text(json.dumps(saved, indent=2) + "\n")
    again = PeftModel.from_pretrained(load(kind, folder)[0], at).eval()
    prompts = [[3, tokens[0], 7, tokens[1], 9], [tokens[1]], [1, 2, tokens[0], tokens[0]]]
    with torch.inference_mode():
        logits = [again(torch.tensor([prompt])).logits[0, -1, :before].tolist() for prompt in prompts]
    (folder / "added.json").write_text(json.dumps({"prompts": prompts, "logits": logits}) + "\n")
    print(name, logits[0][:3])
