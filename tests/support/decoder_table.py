"""The outcome for each architecture of transformers: tried, kept in decoders.json, shown in trainable/README.md.

python tests/support/decoder_table.py  # tries all (under a minute), writes both files
"""

import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from paths import ROOT, SUPPORT
from tiny_decoders import IF_TOLD, refusal, tiny_folder, two_steps

from trainable.student.config_keys import language_models

FILE: Final = SUPPORT / "decoders.json"
README: Final = ROOT / "trainable" / "README.md"
BEGIN, END = "<!-- architectures -->", "<!-- end of architectures -->"


def tried() -> dict[str, Any]:
    """{"transformers": version, "trained": [types], "refused": {type: reason}, "untouched": [types]}."""
    trained, refused, untouched = [], {}, []
    for kind in sorted(language_models()):
        with tempfile.TemporaryDirectory() as folder:
            config = tiny_folder(Path(folder), kind)
            if (reason := refusal(config)) is not None:
                refused[kind] = reason
                continue
            trained.append(kind)
            if two_steps(config).untouched:
                untouched.append(kind)
    return {"transformers": version("transformers"), "trained": trained, "refused": refused, "untouched": untouched}


def table(found: dict[str, Any]) -> str:
    """The outcome as Markdown."""
    told, partly = set(IF_TOLD), set(found["untouched"])
    whole = [kind for kind in found["trained"] if kind not in told | partly]
    rows = [
        ("trained", whole),
        ("trained where config.json has `is_decoder` true, else refused: not causal", sorted(told)),
        (
            "trained, but for weights that no gradient of a text reaches: attention to an encoder that is not there, "
            "and the choice of far positions in sparse attention",
            sorted(partly - told),
        ),
    ]
    reasons = dict.fromkeys(found["refused"].values())
    rows += [(f"refused: {one}", [kind for kind, why in found["refused"].items() if why == one]) for one in reasons]
    lines = [f"| {outcome} | {len(kinds)} | {', '.join(kinds)} |" for outcome, kinds in rows]
    head = f"| with transformers {found['transformers']} | | `model_type` |"
    return "\n".join([head, "|---|---|---|", *lines])


def in_readme() -> str:
    """The table as trainable/README.md has it."""
    return README.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip()


if __name__ == "__main__":
    found = tried()
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{rest.split(END)[1]}", encoding="utf-8")
