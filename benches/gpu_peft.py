"""How fast is PEFT at what `benches/gpu.rs decoder` and `benches/gpu.rs training` do?

A Llama of 8 billion random weights in bf16, scaled-dot-product attention, LoRA of rank 8 on all
seven projections, not merged: prompts' last-position logits. Prompts are equally long, so that
there is no padding, and only the last position's logits are computed. Times are by CUDA's events:
the median of some runs over all prompts, in the fastest batch size of some that fit.

A step of training is over a few of the layers: forward, RankNet over 20 tokens' logits, backward and
AdamW, of adapters in bf16 (which is faster than PEFT's f32), without recomputation.

    python3 benches/gpu_peft.py [--prompts 80] [--tokens 800] [--rank 8] [--layers 32]
                                [--trained-layers 8] [--trained-prompts 16] [--out FILE]
"""

import argparse
import statistics
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def options():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in [("prompts", 80), ("tokens", 800), ("rank", 8), ("repeat", 5)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--trained-layers", type=int, default=8)
    parser.add_argument("--trained-prompts", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--inner", type=int, default=14336)
    parser.add_argument("--vocabulary", type=int, default=128256)
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 8, 16, 20, 40])
    parser.add_argument("--out")
    return parser.parse_args()


def llama(given, layers):
    """Random weights, made where they are used."""
    config = LlamaConfig(
        vocab_size=given.vocabulary,
        hidden_size=given.hidden,
        intermediate_size=given.inner,
        num_hidden_layers=layers,
        num_attention_heads=max(given.hidden // 128, 1),
        num_key_value_heads=max(given.hidden // 512, 1),
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_theta=500000.0,
        attn_implementation="sdpa",
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        return LlamaForCausalLM(config).eval()


def label_logits(model, ids):
    return model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1, :20].float()


def read(model):
    """Scores prompts, so many at a time."""

    def run(ids, size):
        for some in ids.split(size):
            label_logits(model, some).cpu()

    return run


def learn(model):
    """Takes a step over prompts, so many at a time."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0, fused=True)
    above = torch.triu(torch.ones(20, 20, device="cuda", dtype=torch.bool), 1)

    def run(ids, size):
        for some in ids.split(size):
            logits = label_logits(model, some)
            gaps = logits[:, :, None] - logits[:, None, :]
            loss = torch.nn.functional.softplus(-gaps)[:, above].sum() / (190 * len(ids))
            loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return run


def tokens_per_s(run, ids, given, size):
    """Of all prompts, so many at a time."""
    for _ in range(2):
        run(ids, size)
    seconds = []
    for _ in range(given.repeat):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run(ids, size)
        end.record()
        torch.cuda.synchronize()
        seconds.append(begin.elapsed_time(end) / 1e3)
    return ids.numel() / statistics.median(seconds)


def best(run, ids, given):
    """The fastest batch size, and its rate."""
    rates = {}
    for size in given.batches:
        try:
            rates[size] = tokens_per_s(run, ids, given, size)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
    size = max(rates, key=rates.get)
    return size, rates[size]


def main():
    given = options()
    if not torch.cuda.is_available():
        sys.exit("no NVIDIA device is here: nothing was measured")
    torch.manual_seed(7)
    model = llama(given, given.layers)
    ids = torch.randint(given.vocabulary, (given.prompts, given.tokens), device="cuda")
    lines = []
    with torch.inference_mode():
        size, base = best(read(model), ids, given)
        lines.append(f"PEFT's base alone, {size} prompts at a time: {base:.0f} tokens/s")
        config = LoraConfig(r=given.rank, lora_alpha=2 * given.rank, target_modules=TARGETS)
        model = get_peft_model(model, config, autocast_adapter_dtype=False).eval()
        size, lora = best(read(model), ids, given)
        cost = 100 * (base / lora - 1)
        lines.append(
            f"PEFT, LoRA not merged, {size} prompts at a time: {lora:.0f} tokens/s; "
            f"{cost:+.1f} % against the base"
        )
    del model
    torch.cuda.empty_cache()
    model = llama(given, given.trained_layers)
    model = get_peft_model(model, config, autocast_adapter_dtype=False).train()
    size, rate = best(learn(model), ids[: given.trained_prompts], given)
    lines.append(
        f"PEFT learning, {given.trained_layers} layers, {given.trained_prompts} prompts a step, "
        f"{size} at a time: {rate:.0f} tokens/s"
    )
    print("\n".join(lines))
    if given.out:
        with open(given.out, "w", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
