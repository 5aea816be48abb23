"""Settings of a published run, read from the name of its folder."""

from pathlib import Path

import pytest

from analysis.published.folder_names import Setting, parse_name


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        (
            "16_04_18-07-45_240_0.0_1_l_4",
            Setting(schedule="linear", steps=240, min_weight=0.0, layers=1, fold=4, eval_rows=200_000),
        ),
        (
            "04_04_20-41-05_588_0.1_2_e",
            Setting(schedule="exponential", steps=588, min_weight=0.1, layers=2, fold=None, eval_rows=200_000),
        ),
        (
            "16_04_17-40-00_no_bigram_1_l_0",
            Setting(schedule="none", steps=0, min_weight=0.0, layers=1, fold=0, eval_rows=200_000),
        ),
        (
            "06_04_09-45-46_no_bigram_3_1m",
            Setting(schedule="none", steps=0, min_weight=0.0, layers=3, fold=None, eval_rows=1_000_000),
        ),
    ],
)
def test_a_folders_name_gives_its_settings(name: str, setting: Setting) -> None:
    assert parse_name(name) == (setting, "")


@pytest.mark.parametrize(
    "name", ["", "checkpoints", "16_04_18-07-45_240_0.0_1", "16_04_18-07-45_no_bigram_", "x" * 999]
)
def test_a_name_that_does_not_follow_the_study_is_kept_and_told(tmp_path: Path, name: str) -> None:
    setting, problem = parse_name(name)
    assert (setting, setting.arm) == (Setting(), "unknown")
    assert "not one of the study's" in problem


def test_a_minimum_weight_above_0_is_part_of_the_arms_name() -> None:
    assert parse_name("04_04_20-41-05_60_0.1_2_l")[0].arm == "linear 60 min weight 0.1"
