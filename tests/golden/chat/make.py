"""Small tokenizers with chat templates of our own, and what transformers makes of conversations with them.

    pip install tokenizers transformers && python make.py

`bytes` is a byte-level BPE as Qwen2 has it, `pieces` one of pieces with bytes to fall back to as Llama 2 has it.
`expected.json` in each folder holds conversations as (role, content) with the text and the tokens of its template, and
texts with their tokens and, for each number of tokens, the text of as many.
"""
import json
import pathlib
import shutil

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
CORPUS = ["The person watched red lamps and blue chairs, and wants something new.", "user assistant system You are helpful",
          "Rank the films: A, B, C. Answer with the labels, the best first.", "[INST] hello [/INST] <<SYS>> be brief <</SYS>>",
          "1995 2001 12.50 it's don't we'll", "wants the best of the films that the person watched"] * 3
MARKED = """\
{% for message in messages %}
    {%- if loop.first and message.role != 'system' %}
{{- '<|start|>system\\nYou are helpful.<|end|>\\n' }}
    {%- endif %}
    {%- if message['role'] not in ['system', 'user', 'assistant'] %}{{ raise_exception('unknown role') }}{% endif %}
    {{- '<|start|>' + message.role + '\\n' + message.content | trim + '<|end|>' + '\\n' }}
{% endfor %}
{% if add_generation_prompt %}
{{- '<|start|>assistant\\n' }}
{% endif %}
"""
INST = """\
{{ bos_token }}{% set ns = namespace(system='') %}
{%- for message in messages %}
{%- if message['role'] == 'system' %}{% set ns.system = '<<SYS>> ' + message['content'].strip() + ' <</SYS>> ' %}{% continue %}
{%- elif message['role'] == 'user' %}{{ '[INST] ' + ns.system + message['content'].strip().replace('colour', 'color') + ' [/INST]' }}
{%- elif message['role'] == 'assistant' %}{{ ' ' + message['content'].split('</think>')[-1].lstrip() + ' ' + eos_token }}
{%- else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}
{%- endfor %}"""
TALKS = [
    [("user", "Rank the films")],
    [("system", "be brief"), ("user", "  the best of the films?\n")],
    [("system", "\tbe brief\n"), ("user", "hello"), ("assistant", " A, B "), ("user", "it's a red lamp; the colour\n\nis new")],
    [("user", "ünïcode 茶 🫖 1995"), ("assistant", "<b>labels</b> first"), ("user", "")],
    [("user", "a"), ("assistant", "perhaps B</think>\n\nA then"), ("user", "don't")],
]
TEXTS = ["The best films", " a  new\nlamp ", "茶 and 🫖🫖, é", "it's 12.50", "x"]


def bytes_of():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"'[a-z]{1,2}|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
                             "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=380, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(["<|none|>", "<|start|>", "<|end|>"])
    tokenizer.add_tokens([AddedToken("<b>", normalized=False)])
    return tokenizer, dict(eos_token="<|end|>", pad_token="<|none|>"), [{"name": "tool_use", "template": "x"},
                                                                      {"name": "default", "template": MARKED}]


def pieces_of():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=True)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=480, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    saved = json.loads(tokenizer.to_str())
    saved["added_tokens"] = saved["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(saved))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer, dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>"), INST


for name, (tokenizer, specials, template) in {"bytes": bytes_of(), "pieces": pieces_of()}.items():
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    config = {**specials, "chat_template": template}
    if name == "pieces":
        config["bos_token"] = {"__type": "AddedToken", "content": "<s>", "lstrip": False, "normalized": False,
                               "rstrip": False, "single_word": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials)
    whole.chat_template = next(t["template"] for t in template if t["name"] == "default") if name == "bytes" else template
    talks = []
    for talk in TALKS:
        messages = [{"role": role, "content": content} for role, content in talk]
        text = whole.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        tokens = whole.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        talks.append({"messages": talk, "text": text, "tokens": tokens})
    texts = []
    for text in TEXTS:
        tokens = whole(text)["input_ids"]
        spelled = [tokenizer.decode(tokens[:count], skip_special_tokens=True) for count in range(1, len(tokens) + 1)]
        texts.append({"text": text, "tokens": tokens, "spelled": spelled})
    (folder / "expected.json").write_text(json.dumps({"talks": talks, "texts": texts}, ensure_ascii=False) + "\n")
    print(name, tokenizer.get_vocab_size(), [len(t["tokens"]) for t in talks])
    print(talks[2]["text"])
