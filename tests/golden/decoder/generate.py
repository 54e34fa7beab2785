"""What transformers' `generate` makes of the models beside this file, greedily, with each of their adapters.

    pip install torch transformers peft safetensors && python make.py && python generate.py

`generated.json` of each model holds prompts, and for the model alone ("") and for each adapter the tokens that follow
each prompt; `stopped` are those with `stops` as stop tokens. Where two tokens were all but equally likely nothing would
follow for anybody, so the smallest difference of the two greatest logits is printed.
"""
import json
import pathlib

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
NEW = 16


def answers(model, prompts, stops):
    """The answers without stop tokens, and the smallest difference of the two greatest logits."""
    found, least = [], float("inf")
    for prompt in prompts:
        new = min(NEW, model.config.max_position_embeddings - len(prompt))
        made = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                              max_new_tokens=new, do_sample=False, num_beams=1, bos_token_id=None, pad_token_id=0,
                              eos_token_id=stops, return_dict_in_generate=True, output_logits=True)
        tokens = made.sequences[0, len(prompt):].tolist()
        found.append([token for token in tokens if token not in (stops or [])])
        for logits in made.logits:
            best = logits[0].float().topk(2).values
            least = min(least, (best[0] - best[1]).item())
    return found, least


for name in ["llama2", "llama3", "qwen2"]:
    folder = HERE / name
    known = json.loads((folder / "expected.json").read_text())
    prompts = known.pop("prompts")
    result = {"prompts": prompts}
    for adapter in known:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        model.generation_config.eos_token_id = None
        if adapter:
            model = PeftModel.from_pretrained(model, folder / f"adapter-{adapter}").eval()
        with torch.inference_mode():
            free, least = answers(model, prompts, None)
            if not adapter:
                result["stops"] = sorted({free[1][5], free[3][9]})
            stopped, _ = answers(model, prompts, result["stops"])
        result[adapter] = {"free": free, "stopped": stopped}
        print(name, repr(adapter), f"{least:.4f}", [len(x) for x in stopped])
    (folder / "generated.json").write_text(json.dumps(result) + "\n")
