"""Trials of several settings, one after the other, on all ranks of torchrun, from a cache that is prepared.

torchrun --nproc_per_node 2 tests/support/trial_on_ranks.py FOLDER      # has settings.json; gets reports.pt
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from trainable.config import from_dict
from trainable.prepare import prepare_run
from trainable.student.ranks import Ranks
from trainable.student.train import train


def main(folder: Path) -> None:
    """Train each setting; the first rank writes {name of the setting: its reports}."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    ranks = Ranks(distributed.get_rank(), distributed.get_world_size())
    reports: dict[str, list[dict[str, Any]]] = {}
    for name, settings in json.loads((folder / "settings.json").read_text()).items():
        config = from_dict(settings)
        reports[name] = []
        train(config, prepare_run(config, folder / "cache")[0], reports[name].append, ranks=ranks)
    if ranks.first:
        torch.save(reports, folder / "reports.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
