"""Two sweeps at once with one empty cache and one results folder, and a second driver for one run."""

from pathlib import Path

from live_sweep import SMALL_STUDY, LiveSweep, finish, same_losses

from trainable.record.cache import MANIFEST_FILE


def test_two_sweeps_share_cache_and_results_and_are_both_right(undisturbed: Path, tmp_path: Path) -> None:
    cache = {"BIGRAM_CACHE": str(tmp_path / "cache")}
    words = ("--seeds", "0", "--arms", "1", "--cpus", "1")
    with (
        LiveSweep(SMALL_STUDY, tmp_path, *words, environment=cache) as one,
        LiveSweep(SMALL_STUDY, tmp_path, *words, environment=cache) as other,
    ):
        one.wait_for(lambda: len(list(one.results.glob("*/*/run.json"))) == 2, "both sweeps had begun")
        built = manifests(tmp_path / "cache")
        assert len(built) >= 3  # tokenizer, blocks, table
        run, busy = sorted(one.results.glob("*/*"))
        second = finish(SMALL_STUDY, tmp_path, "--resume", str(run), environment=cache)
        assert (one.end(), other.end()) == (0, 0), one.printed + other.printed
    assert second.driver.returncode == 2
    assert f"run {run} is in use by another process: wait for it to end." in second.printed
    assert manifests(tmp_path / "cache") == built, "something was built twice"
    for folder in (run, busy):
        same_losses(folder, undisturbed, trials=2)


def manifests(cache: Path) -> dict[Path, tuple[int, int]]:
    """Return inode and time of each manifest: a folder that is built again has other ones."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in cache.rglob(MANIFEST_FILE)}
