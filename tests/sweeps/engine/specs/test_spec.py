"""The protocol of specs: the engine works with every class that follows it, even with a class made for a test."""

import ast
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from paths import ROOT
from rich.console import Console
from sweep_specs import SimulatedTune, new_run, small_arms, small_sweep

from sweeps.engine.checks import check_effects, check_inputs, check_shares
from sweeps.engine.cli import show_aim, show_plan
from sweeps.engine.export.choice import Export, check_export
from sweeps.engine.order.orders import ORDERS, order_of
from sweeps.engine.order.trial_order import TrialOrder
from sweeps.engine.specs.asha_spec import AshaSpec
from sweeps.engine.specs.comparison import Arm, Comparison, paired_plans
from sweeps.engine.specs.pairs import control_plan
from sweeps.engine.specs.spec import KINDS, says_auto, spec_from_dict, with_precision
from sweeps.engine.specs.workload import Workload
from trainable.config import TrialConfig, from_dict, override, to_dict
from trainable.errors import InputError
from trainable.plan import TrialPlan


@dataclass(frozen=True, kw_only=True)
class OneTrial:
    """A kind of spec that the engine does not know: it has a single trial, a control."""

    kind: ClassVar[str] = "one_trial"
    study: str = "one"
    question: str = "Does it run?"
    base: TrialConfig
    asha: AshaSpec | None = None
    trials: int = 1
    depths: tuple[int, ...] = (1,)

    def configs(self) -> list[TrialConfig]:
        return [self.base]

    def largest(self) -> list[TrialConfig]:
        return [self.base]

    def can_have(self, trial: str) -> bool:
        return trial == control_plan(self.base).name

    def decides(self, key: str) -> bool:
        return key == "seed"

    @property
    def steps_of_search(self) -> int:
        return self.base.loop.steps

    def workloads(self) -> list[Workload]:
        return [Workload(config=self.base, trials=1, steps=self.base.loop.steps)]

    def plan_lines(self) -> list[str]:
        return ["one trial"]

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "base": to_dict(self.base)}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "OneTrial":
        return cls(base=from_dict(tree["base"]))


class OneAfterAnother(TrialOrder):
    """The order of a OneTrial spec, which gives out its single trial."""

    def __init__(self, spec: OneTrial, *rest: Any):
        super().__init__(*rest)
        self._plan = control_plan(spec.base)
        self.take_over()

    def _next(self) -> TrialPlan | None:
        return None if self._plan.name in self._records else self._begin(self._plan)


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> OneTrial:
    monkeypatch.setitem(KINDS, OneTrial.kind, OneTrial)  # type: ignore[arg-type]
    monkeypatch.setitem(ORDERS, OneTrial.kind, OneAfterAnother)  # type: ignore[arg-type]
    return OneTrial(base=override(small_sweep().base, {"corpus.train_rows": 100, "corpus.eval_rows": 100}))


def test_a_new_kind_of_spec_is_shown_checked_written_read_and_run(
    spec: OneTrial, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_aim(spec, Console(width=200))
    show_plan(spec, Console(width=200))
    assert "one: Does it run?" in (told := capsys.readouterr().out) and "one trial" in told
    check_inputs(spec)
    check_shares(spec, 1)
    with pytest.raises(InputError, match="--set seed would change nothing"):
        check_effects(spec, {"seed": 3})
    with pytest.raises(InputError, match="study one has no trial 'two'"):
        check_export(Export("two", tmp_path / "new"), spec, None)
    folder = new_run(tmp_path / "run", spec)
    assert folder.spec() == spec
    tune = SimulatedTune(folder=folder, sweep=spec)
    assert tune.run().exhausted and [plan.name for plan in tune.given] == ["none-L1-s0"]
    assert isinstance(order_of(spec, folder, {}, lambda: 1)[0], OneAfterAnother)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_an_order_and_is_found_by_its_name_in_run_json(kind: str) -> None:
    assert kind in ORDERS
    spec = small_sweep()
    trial = control_plan(spec.base)
    one = {"groups": spec, "comparison": Comparison(study="s", question="?", base=spec.base, plans=(trial,))}[kind]
    tree = json.loads(json.dumps(one.to_dict()))
    assert tree["kind"] == kind and spec_from_dict(tree) == one


@pytest.mark.parametrize("tree", [{"kind": "search"}, {}])
def test_a_search_from_before_groups_existed_is_refused_as_an_unknown_kind(tree: dict[str, Any]) -> None:
    """A spec without a kind, as the oldest runs have it, counts as kind search."""
    with pytest.raises(InputError, match=r"^its kind is 'search', and this version knows groups, comparison$"):
        spec_from_dict({**small_sweep().to_dict(), "kind": "search"} if tree else tree)


COMPARISON = Comparison(
    study="s",
    question="?",
    base=override(small_sweep().base, {"loop.precision": "auto"}),
    plans=paired_plans(
        [override(small_sweep().base, {"loop.precision": "auto"})],
        lambda unit: [Arm("plain", {}), Arm("exact", {"loop.precision": "float32"})],
    ),
)


@pytest.mark.parametrize("spec", [small_sweep({"loop.precision": "auto"}), COMPARISON], ids=["groups", "comparison"])
def test_a_precision_replaces_auto_in_every_trial_and_changes_nothing_else(spec: Any) -> None:
    assert says_auto(spec)
    settled = with_precision(spec, "bfloat16")
    assert not says_auto(settled) and settled.base.loop.precision == "bfloat16"
    expected = {"float32", "bfloat16"} if spec is COMPARISON else {"bfloat16"}
    assert {config.loop.precision for config in settled.configs()} == expected
    was, now = (json.dumps(one.to_dict()) for one in (spec, settled))
    assert now == was.replace('"precision": "auto"', '"precision": "bfloat16"')


def test_an_arm_that_says_auto_gets_the_precision_too() -> None:
    arms = [replace(arm, changes={**arm.changes, "loop.precision": "auto"}) for arm in small_arms()]
    spec = small_sweep(arms=tuple(arms))
    assert says_auto(spec) and not says_auto(small_sweep())
    assert {c.loop.precision for c in with_precision(spec, "bfloat16").configs()} == {"bfloat16"}


def test_no_isinstance_check_in_sweeps_names_sweep_or_comparison() -> None:
    asked = [
        f"{path.name}:{node.lineno}"
        for path in sorted((ROOT / "sweeps").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance"
        if {"Sweep", "Comparison"} & {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
    ]
    assert asked == []


def test_specs_import_neither_ray_nor_torch() -> None:
    code = "import sys, sweeps.engine.specs.spec; print(sorted({'ray', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout == "[]\n"
