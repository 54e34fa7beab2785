"""A small random BERT in Hugging Face layout with two heads, and what transformers and PyTorch make of it.

    pip install torch transformers tokenizers safetensors && python make.py

`expected.json` holds: texts and their embeddings (mean of all tokens' rows, divided by its length) in f32, with the lowest
cosine of the same in bf16; pairs of request and context, and their embeddings; lessons, and for each loss its value and, of
each tensor's gradient, the norm and the sum of its numbers times sin(1), sin(2), ... `lora` is the same for LoRA of rank 3
and alpha 6 on all six projections, whose factors A and B are 0.05 sin(i) and 0.05 cos(i), counted tensor by tensor.
"""
import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
TEXTS = ["Toy Story (1995)", "A lamp under $20, red", "Café Müller's 12-cup coffee maker", "x", "", "Heat",
         "films like Dune but with more humour", "gentle music for a quiet evening at home, nothing loud", "zebra ☂ zebra",
         "[CLS] is text [SEP]"]
PAIRS = [["a red lamp", "Toy Story (1995), Heat"], ["more humour", ""], ["", "coffee maker"], ["quiet music", "x"]]
LESSONS = [[0, [[0, 1.0], [5, 0.2], [1, 0.7]]], [1, [[6, 0.9], [0, 0.6]]], [2, [[2, 1.0], [4, 0.0]]], [3, [[7, 0.3]]]]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
RANK, ALPHA, NEGATIVES = 3, 6.0, 0.5
SITES = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
         "intermediate.dense", "output.dense"]


def tokenizer():
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(TEXTS[:8], trainers.WordPieceTrainer(vocab_size=150, special_tokens=SPECIAL, show_progress=False))
    ends = [(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends)
    made.save(str(HERE / "tokenizer.json"))
    return made


class Towers(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.bert = BertModel(config, add_pooling_layer=False)
        self.request, self.item = torch.nn.Linear(config.hidden_size, 12), torch.nn.Linear(config.hidden_size, 12)
        self.logit = torch.nn.ParameterDict({"log_scale": torch.nn.Parameter(torch.tensor([1.3])),
                                             "bias": torch.nn.Parameter(torch.tensor([-0.4]))})

    def pool(self, texts):
        rows = []
        for text in texts:  # plain texts go around the special tokens, as data does
            first, second = (text, "") if isinstance(text, str) else text
            ids, kinds = [2] + WORDS(first) + [3], None
            kinds = [0] * len(ids)
            if second:
                ids, kinds = ids + WORDS(second) + [3], kinds + [1] * (len(WORDS(second)) + 1)
            h = self.bert(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([kinds])).last_hidden_state
            rows.append(h[0].mean(0))
        return torch.stack(rows)

    def loss(self, name):
        f = F.normalize(self.request(self.pool(PAIRS)), dim=1)
        g = F.normalize(self.item(self.pool(TEXTS)), dim=1)
        z = self.logit["log_scale"].exp() * f @ g.T + self.logit["bias"]
        pairs, contrast = [], []
        every = {i for _, items in LESSONS for i, _ in items}
        for lesson, items in LESSONS:
            own = {i for i, _ in items}
            others = sorted(every - own)
            for i, score in items:
                target, logit = torch.tensor(score), z[lesson, i]
                pairs.append((torch.sigmoid(logit) - target) ** 2 if name.startswith("mse")
                             else F.binary_cross_entropy_with_logits(logit, target))
                if score >= 0.5:
                    contrast.append(torch.logsumexp(torch.cat([logit[None], z[lesson, others]]), 0) - logit)
        loss = torch.stack(pairs).mean()
        return loss + (NEGATIVES * torch.stack(contrast).mean() if "negatives" in name else 0.0)


def summary(x):
    x = x.detach().double().flatten()
    return [x.norm().item(), (x * torch.sin(torch.arange(1, len(x) + 1, dtype=torch.float64))).sum().item()]


def gradients(model, named):
    found = {}
    for name in ("mse", "bce", "mse-negatives"):
        model.zero_grad()
        loss = model.loss(name)
        loss.backward()
        found[name] = {"loss": loss.item(), "gradients": {key: summary(x.grad) for key, x in named()}}
    return found


class Lora(torch.nn.Module):
    def __init__(self, base, first):
        super().__init__()
        self.base, (outputs, inputs) = base, base.weight.shape
        count = torch.arange(first, first + RANK * (inputs + outputs), dtype=torch.float64)
        down, up = count[:RANK * inputs], count[RANK * inputs:]
        self.A = torch.nn.Parameter((0.05 * torch.sin(down)).float().view(RANK, inputs))
        self.B = torch.nn.Parameter((0.05 * torch.cos(up)).float().view(outputs, RANK))

    def forward(self, x):
        return self.base(x) + ALPHA / RANK * (x @ self.A.T @ self.B.T)


torch.manual_seed(7)
cutter = tokenizer()
plain = Tokenizer(cutter.model)  # without added tokens: "[CLS]" in a text is four words
plain.normalizer, plain.pre_tokenizer = cutter.normalizer, cutter.pre_tokenizer
WORDS = lambda text: plain.encode(text, add_special_tokens=False).ids
config = BertConfig(vocab_size=cutter.get_vocab_size() + 1, hidden_size=32, intermediate_size=72, num_hidden_layers=2,
                    num_attention_heads=4, max_position_embeddings=40, attn_implementation="eager")
model = Towers(config).eval()
with torch.no_grad():
    for name, weight in model.named_parameters():
        draw = torch.randn_like(weight)
        if weight.dim() == 2:
            weight.copy_((1.5 if "query" in name or "key" in name else 0.7) * draw / weight.shape[1] ** 0.5)
        elif "logit" not in name:
            weight.copy_((1.0 if "LayerNorm.weight" in name else 0.0) + 0.2 * draw)
    model.bert.save_pretrained(HERE)
    fast = PreTrainedTokenizerFast(tokenizer_object=cutter, unk_token="[UNK]")
    for text in TEXTS[:8] + [tuple(pair) for pair in PAIRS if all(pair)]:  # the usual way gives the same
        usual = fast(*([text] if isinstance(text, str) else text), return_tensors="pt", return_token_type_ids=True)
        h = model.bert(input_ids=usual["input_ids"], token_type_ids=usual["token_type_ids"]).last_hidden_state
        assert torch.equal(h[0].mean(0), model.pool([text])[0]), text
    unit = lambda model, texts: F.normalize(model.pool(texts).float(), dim=1)
    texts, pairs = unit(model, TEXTS), unit(model, PAIRS)
    half = (unit(model.bfloat16(), TEXTS) * texts).sum(1).min().item()
    model.float()
model = Towers(config).eval()
model.bert = BertModel.from_pretrained(HERE, add_pooling_layer=False, attn_implementation="eager").eval()
torch.manual_seed(8)
with torch.no_grad():
    for name, weight in model.named_parameters():
        if name.startswith(("request", "item")):
            weight.copy_(0.3 * torch.randn_like(weight))
heads = {name: x.detach().clone() for name, x in model.named_parameters() if not name.startswith("bert.")}
kept = json.dumps({"width": 12, "tokens_max": 40, "bf16": False})
save_file(heads, HERE / "heads.safetensors", metadata={"steerage": kept})
full = gradients(model, lambda: ((key.removeprefix("bert."), x) for key, x in model.named_parameters()))
first = 0
for layer, block in enumerate(model.bert.encoder.layer):
    for site in SITES:
        *path, last = site.split(".")
        owner = block
        for part in path:
            owner = getattr(owner, part)
        changed = Lora(getattr(owner, last), first)
        first += changed.A.numel() + changed.B.numel()
        setattr(owner, last, changed)
factors = lambda: ((key.removeprefix("bert."), x) for key, x in model.named_parameters()
                   if key.endswith((".A", ".B")) or not key.startswith("bert."))
lora = gradients(model, factors)
expected = {"texts": TEXTS, "embeddings": texts.tolist(), "bf16_cosine": half, "pairs": PAIRS,
            "pair_embeddings": pairs.tolist(), "lessons": LESSONS, "negatives": NEGATIVES, "full": full, "lora": lora}
(HERE / "expected.json").write_text(json.dumps(expected, indent=1))
