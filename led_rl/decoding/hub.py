"""The Hub folder of LED: `custom_generate/generate.py` in one self-contained file, and its README.

The file is bundled from led_rl's own modules, so there is one implementation: imports of led_rl are left out, for what
they name stands earlier in the file.
"""

import ast
import inspect
from pathlib import Path
from types import ModuleType

from led_rl import errors
from led_rl.decoding import distributions, generate, led, led_sampler, randomness, samplers
from led_rl.errors import UserError
from led_rl.models import lens, thinking
from led_rl.records import write_text

MODULES: tuple[ModuleType, ...] = (
    errors,
    lens,
    thinking,
    distributions,
    led,
    randomness,
    samplers,
    led_sampler,
    generate,
)

_ENTRY = '''

def generate(model, **arguments):
    """What `model.generate(custom_generate="<this repository>", trust_remote_code=True, ...)` calls."""
    from transformers import GenerationMixin

    return GenerationMixin.generate(model, custom_generate=led_generate, **arguments)
'''

_README = """---
library_name: transformers
license: apache-2.0
tags:
  - custom_generate
---
# Latent Exploration Decoding

Sampling that explores with the model's own intermediate layers where the final layer is unsure (arXiv 2602.01698, ICML
2026). Made by led_rl; works with any decoder-only model of transformers that has a residual stream and an LM head.

```python
outputs = model.generate(
    **inputs,
    do_sample=True,
    custom_generate="<this repository or a local folder>",
    trust_remote_code=True,
    led_depth=8,                  # layers accumulated, from the last one backwards
    led_top_k=20,                 # size of the support; replaces top_k
    led_coin="final",             # the paper's; "latent": explore where the layers doubt, not where the final one does
    led_final_norm=False,         # the paper's setting; True applies the final norm to intermediate states
    led_think_end_token_id=None,  # id of </think>: explore only before it; None: everywhere
)
```

Base model: any. `temperature` applies to every layer, `top_p` and `min_p` restrict the support further, other logits
processors act on the final layer. With `return_dict_in_generate=True, output_scores=True`, `scores` are log q over the
vocabulary, so `compute_transition_scores` gives the exact log-probability of every token drawn.
"""


def bundle() -> str:
    """The self-contained source: every module's code in order, imports of other packages once, at the top."""
    imports: dict[str, None] = {}
    bodies: list[str] = []
    for module in MODULES:
        source = inspect.getsource(module)
        lines = source.splitlines()
        for node in ast.parse(source).body:
            text = "\n".join(lines[_first_line(node) - 1 : node.end_lineno])
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "led_rl":
                continue
            if isinstance(node, ast.Import | ast.ImportFrom):
                imports[ast.unparse(node)] = None
            elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                bodies.append(text)
    head = '"""Latent Exploration Decoding (arXiv 2602.01698), bundled from led_rl by scripts/export_hub.py."""'
    return "\n".join([head, "", *sorted(imports), "", "", "\n\n\n".join(bodies), _ENTRY])


def write_hub_folder(folder: Path) -> Path:
    """Write the folder; returns it. ValueError if it holds something else already."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "custom_generate" / "generate.py").exists():
        raise UserError(f"{folder} is not empty and no Hub folder of LED: name another --output_dir")
    write_text(folder / "custom_generate" / "generate.py", bundle())
    write_text(folder / "README.md", _README)
    return folder


def _first_line(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min(int(line) for line in [node.lineno, *(decorator.lineno for decorator in decorators)])
