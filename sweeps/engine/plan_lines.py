"""What will run, and what it costs at most, in a few lines before anything starts."""

from rich.console import Console

from sweeps.engine.folder import Spec
from sweeps.engine.specs.comparison import Comparison
from sweeps.engine.specs.search import Sweep, control_plans


def show_plan(spec: Spec, console: Console) -> None:
    """Print the plan of a search or a comparison."""
    console.print(f"[bold]{spec.study}[/bold]: {spec.question}", highlight=False)
    lines = _comparison_lines(spec) if isinstance(spec, Comparison) else _search_lines(spec)
    for line in [_setting_line(spec), *lines]:
        console.print(f"  {line}", highlight=False)


def _setting_line(spec: Spec) -> str:
    base = spec.base
    configs = [plan.config for plan in spec.plans] if isinstance(spec, Comparison) else [base]
    layers = spec.layers if isinstance(spec, Sweep) else sorted({config.model.layers for config in configs})
    steps = sorted({config.loop.steps for config in configs})
    return (
        f"corpus {base.corpus.source}, tokenizer {base.tokens.tokenizer}, model {base.model.name}, "
        f"depths {', '.join(map(str, layers))}; {', '.join(map(str, steps))} steps of "
        f"{base.loop.batch_blocks * base.loop.accumulation} x {base.tokens.context} tokens"
    )


def _comparison_lines(spec: Comparison) -> list[str]:
    """Arms, units, cost."""
    controls = [plan.name for plan in spec.plans if plan.name == plan.control]
    trial_steps = sum(plan.config.loop.steps for plan in spec.plans)
    return [
        f"arms: {', '.join(spec.arms)}",
        f"controls, one a unit: {', '.join(controls)}",
        *([f"each arm takes its own best {spec.tuned}"] if spec.tuned else []),
        f"{spec.trials} trials, {trial_steps:,} trial-steps",
    ]


def _search_lines(spec: Sweep) -> list[str]:
    """The space, the controls, the budget against the full grid."""
    from sweeps.engine.specs.space import points

    base, grid = spec.base, len(points(spec.space))
    space = [
        f"{key}: {', '.join(_shown(value) for value in parameter.grid())}" for key, parameter in spec.space.items()
    ]
    controls = [plan.name for seed in (base.seed, *spec.confirm_seeds) for plan in control_plans(spec, seed)]
    rungs = spec.asha.rungs(base.loop.steps) if spec.asha else []
    judged = f"judged by ASHA at step {', '.join(map(str, rungs))}" if rungs else "all to the end"
    seeds = ", ".join(map(str, spec.confirm_seeds))
    again = f"; the best of each depth again on seeds {seeds}" if seeds else ""
    full = len(spec.layers) * (grid + 1) * base.loop.steps
    return [
        *space,
        f"controls: {', '.join(controls)}",
        f"{spec.num_samples} of {grid} schedules at each depth by {spec.search}, {judged}{again}",
        f"at most {spec.trials} trials, {spec.trials * base.loop.steps:,} trial-steps (the full grid: {full:,})",
    ]


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
