"""Makes tests/fixtures/perplexity.json: log-likelihoods of a text of this tree by Hugging Face transformers.

    python tools/make_perplexity_fixture.py [tests/fixtures/perplexity.json]      needs torch and transformers

The demo model in float32 on the CPU, its tokens by transformers' own tokenizer, each window a forward pass of its own,
sums in float64. A window begins with BOS where one is put before the text, and counts it.
"""

import json
import math
import sys
from pathlib import Path

import torch
import transformers

ROOT = Path(__file__).resolve().parent.parent
TEXT = "LICENSE"
WINDOWS = [512, 64, 7]


def log_likelihood(model, tokens, window, bos):
    """Sum over the tokens that have something before them in their window, and how many there are."""
    stride = window - (bos is not None)
    total, scored, windows = 0.0, 0, 0
    for begin in range(0, len(tokens), stride):
        ids = ([] if bos is None else [bos]) + tokens[begin : begin + stride]
        if len(ids) < 2:
            continue
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, :-1].double()
        chosen = torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(ids[1:])[:, None])
        total += chosen.sum().item()
        scored += len(ids) - 1
        windows += 1
    return {"window": window, "bos": bos is not None, "tokens": scored, "windows": windows, "log_likelihood": total}


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests" / "fixtures" / "perplexity.json"
    folder = ROOT / "models" / "demo"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer((ROOT / TEXT).read_text(), add_special_tokens=False)["input_ids"]
    cases = [
        log_likelihood(model, tokens, window, bos) for bos in (tokenizer.bos_token_id, None) for window in WINDOWS
    ]
    for case in cases:
        case["perplexity"] = math.exp(-case["log_likelihood"] / case["tokens"])
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    result = {"text": TEXT, "text_tokens": len(tokens), "made_with": versions, "cases": cases}
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
