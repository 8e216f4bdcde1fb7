"""What is said of runs that went wrong in a known way, and that nothing is said of healthy ones."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import tests.environments  # noqa: F401  (registers the environments)
from asyncrl.analysis.advice import advise, what_to_try
from asyncrl.analysis.history import History
from asyncrl.analysis.rules import returns
from asyncrl.check import Advice, Check
from asyncrl.config import available_cores
from asyncrl.errors import RunError, UserError
from asyncrl.resolution import resolve, starting_point
from asyncrl.run_folder import RunFolder
from asyncrl.runtime import supervisor
from asyncrl.training import run
from tests.experiments import small

LINES = 60
SETTINGS = "workers", "until_return", "reward_clip", "steps", "normalize_rewards", "reward_scale", "layer_norm"


def remarks(folder: Path, verdict: str = "note") -> dict[str, str]:
    """The remarks of that verdict, without those on speed, which this machine decides."""
    found = [check for check in advise(RunFolder(folder)) if check.verdict == verdict]
    speed = ("act", "learn", "update", "other")
    return {check.name: check.text for check in found if check.name not in speed and not check.name.startswith("try")}


def to_try(folder: Path) -> list[str]:
    """The list of what to try."""
    return [check.text for check in advise(RunFolder(folder)) if check.name.startswith("try")]


def advised(folder: Path, name: str) -> str:
    """What one remark advises."""
    (check,) = [check for check in advise(RunFolder(folder)) if check.name == name and check.verdict == "note"]
    return "; ".join(advice.text for advice in check.advice)


def trained(folder: Path, monkeypatch: pytest.MonkeyPatch, environment: str = "Catch-v0", **settings: Any) -> Path:
    """A real run, with many lines of metrics."""
    monkeypatch.setattr(supervisor, "METRICS_SECONDS", (0.01, 0.01))
    experiment = small(environment, settings.pop("algorithm", None), **settings)
    folder.mkdir()
    run(experiment, RunFolder(folder), resume=False, console=Console(quiet=True))
    return folder


def written(folder: Path, summary: Mapping[str, Any] | None = None, **columns: Any) -> Path:
    """A run of a million steps as it is written down: some metrics given, all others healthy."""
    settings = {name: columns.pop(name) for name in list(columns) if name in SETTINGS}
    environment = columns.pop("environment", "test/Clock-v0")
    run_folder = RunFolder(folder)
    folder.mkdir(exist_ok=True)
    start = small(environment, columns.pop("algorithm", None), runtime="processes")
    run_folder.write_experiment(resolve(start, {"steps": 10**6, **settings}))
    rising = np.minimum(np.linspace(0, 2, LINES), 1) * 90 + np.random.default_rng(0).normal(0, 1, LINES)
    healthy: dict[str, Any] = {"return_mean": rising, "entropy": np.linspace(1, 0.4, LINES), "gradient_norm": 1.0}
    healthy |= {"value_mean": 3.0, "value_explained": 0.7, "length_mean": 100.0, "steps_per_second": 1000.0}
    shares = {"share_environment": 0.7, "share_act": 0.1, "share_learn": 0.1, "share_update": 0.05, "share_other": 0.05}
    values = {name: np.broadcast_to(column, LINES) for name, column in {**healthy, **shares, **columns}.items()}
    with run_folder.metrics_file.open("w") as file:
        for number in range(LINES):
            steps = 10**6 * (number + 1) // LINES
            line = {"wall_seconds": steps / 1000, "steps": steps, "frames": steps, "updates": steps // 20}
            line |= {"episodes": steps // 100, **{name: float(column[number]) for name, column in values.items()}}
            file.write(json.dumps(line) + "\n")
    if summary is not None:
        run_folder.write_summary({"status": "done", "ended_by": "steps", **summary})
    return folder


def test_of_a_healthy_run_nothing_is_said(tmp_path: Path) -> None:
    experiment = resolve(
        starting_point("Catch-v0", None, "a3c"), {"runtime": "serial", "workers": 1, "until_return": 0.9}
    )
    folder = tmp_path / "run"
    folder.mkdir()
    result = run(experiment, RunFolder(folder), resume=False, console=Console(quiet=True))
    assert result.summary["ended_by"] == "goal"
    assert remarks(folder) == {}
    good = remarks(folder, "good")
    assert "its goal was reached, a mean return of 0.9" in good["run"]
    assert "no sign of trouble" in good["learning"]


def test_of_a_healthy_history_nothing_is_said(tmp_path: Path) -> None:
    written(tmp_path, {})
    assert remarks(tmp_path) == {}
    assert "since step" in remarks(tmp_path, "good")["return"]


def test_a_reward_that_never_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = trained(tmp_path / "run", monkeypatch, "test/Barren-v0", steps=2_000)
    assert "had a return of 0: the agent found no reward" in remarks(folder)["return"]
    assert "asyncrl watch" in to_try(folder)[0]


def test_a_run_that_ended_before_its_replay_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = trained(tmp_path / "run", monkeypatch, algorithm="dqn", steps=600, replay_start=1000)
    assert "learning begins at step 1,000 (--replay-start)" in remarks(folder)["return"]
    assert set(remarks(folder)) == {"return"}
    assert len(to_try(folder)) >= 2
    (folder / "summary.json").unlink()
    assert "learning has not begun: it begins at step 1,000" in remarks(folder)["return"]
    learned = trained(tmp_path / "learned", monkeypatch, algorithm="dqn", steps=600, replay_start=400)
    assert "(--replay-start)" not in str(remarks(learned))


def test_priorities_that_leave_a_few_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"algorithm": "dqn", "prioritized": "proportional", "priority_exponent": 1.0}
    settings |= {"replay_start": 500, "replay_ratio": 4.0, "steps": 3_000, "target_interval": 500}
    bad = trained(tmp_path / "bad", monkeypatch, "test/Jackpot-v0", **settings)
    text = remarks(bad)["priorities"]
    assert "have collapsed" in text
    assert int(re.findall(r"only (\d+) ", text)[0]) < 40
    assert advised(bad, "priorities").startswith("--reward-clip 1; --prioritized rank")
    good = trained(tmp_path / "good", monkeypatch, "test/Jackpot-v0", **settings, reward_clip=1.0)
    assert "priorities" not in remarks(good)


def test_a_target_network_that_is_never_refreshed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"algorithm": "dqn", "steps": 1500, "replay_start": 200}
    folder = trained(tmp_path / "run", monkeypatch, **settings, target_interval=2000)
    assert "--target-interval 2,000 is more than the 1,5" in remarks(folder)["target network"]
    assert advised(folder, "target network") == "a --target-interval of at most 75"
    assert "target network" not in remarks(trained(tmp_path / "good", monkeypatch, **settings, target_interval=500))
    other = trained(tmp_path / "other", monkeypatch, algorithm="nstep-q", steps=4400, target_interval=40_000)
    assert "is never refreshed" in remarks(other)["target network"]


def test_an_entropy_that_collapses_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {"entropy_weight": 0.0, "learning_rate": 1.0, "steps": 4_400}
    text = remarks(trained(tmp_path / "run", monkeypatch, **bad))["entropy"]
    assert "of its first value within the first" in text
    assert "stopped exploring" in text


def test_a_policy_that_stays_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = remarks(trained(tmp_path / "run", monkeypatch, learning_rate=1e-7, steps=4_400))["entropy"]
    assert "after 100% of the run" in text
    assert "still random" in text


def test_values_that_are_not_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = trained(tmp_path / "run", monkeypatch, value_weight=0.0, learning_rate=1e-5, steps=4_400)
    assert "it explains 0% of the variance" in remarks(folder)["value"]
    assert "a higher --value-weight than 0;" in advised(folder, "value")


def test_a_run_that_failed_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {"optimizer": "momentum-sgd", "learning_rate": 1e9, "max_gradient_norm": 1e9, "schedule": "constant"}
    with pytest.raises(RunError):
        trained(tmp_path / "run", monkeypatch, algorithm="nstep-q", steps=4_400, **bad)
    assert "10 updates in a row" in remarks(tmp_path / "run", "bad")["run"]
    assert "were not finite and were dropped" in remarks(tmp_path / "run")["updates"]


RISE = np.linspace(10, 480, LINES)


@pytest.mark.parametrize(
    ("columns", "name", "part"),
    [
        ({"return_mean": np.r_[RISE[::2], RISE[::-2]]}, "return", "the mean return fell from 476 at step 516,666 to"),
        ({"return_mean": np.linspace(100, 10, LINES)}, "return", "learning made the agent worse"),
        ({"return_mean": RISE}, "return", "still rising at the end"),
        ({"until_return": 200.0}, "return", "below 200, which counts as solved here"),
        ({"return_mean": 5 + np.sin(np.arange(LINES) * 2)}, "return", "the mean return has not changed"),
        ({"gradient_norm": np.geomspace(1, 1e6, LINES)}, "gradient", "its norm grew from"),
        ({"gradient_norm": 1e4}, "gradient", "times --max-gradient-norm"),
        ({"gradient_norm": np.geomspace(1, 1e-9, LINES)}, "gradient", "nothing is learned any more"),
        ({"dropped_updates": 12}, "updates", "12 of 50,012 updates were not finite"),
        ({"value_mean": -1e5}, "value", "its mean is 1e+05 in size"),
        ({"entropy": np.r_[1.0, -5 * np.ones(LINES - 1)], "return_mean": 3.0}, "entropy", "from 1 to -5"),
        ({"steps_per_second": np.r_[1000 * np.ones(40), 100 * np.ones(20)]}, "speed", "from 1,000 to 100 steps"),
        ({"restarts": 2}, "restarts", "replaced 2 times"),
        ({"workers": available_cores() + 1}, "workers", "they take turns"),
    ],
)
def test_one_thing_that_went_wrong(tmp_path: Path, columns: dict[str, Any], name: str, part: str) -> None:
    found = remarks(written(tmp_path, {}, **columns))
    assert part in found.pop(name)
    assert set(found) <= {"return"}  # nothing else is blamed, except a curve that the case itself has flat


def test_clipped_rewards_may_hide_what_tells_actions_apart(tmp_path: Path) -> None:
    written(tmp_path, {}, return_mean=5 + np.sin(np.arange(LINES) * 2), reward_clip=1.0)
    assert "no --reward-clip: 1 may hide" in advised(tmp_path, "return")


@pytest.mark.parametrize(
    "columns",
    [
        {"return_mean": 5 + np.sin(np.arange(LINES) * 2), "entropy": 1.0},
        {"gradient_norm": np.geomspace(1, 1e6, LINES), "value_explained": 0.0},
        {"gradient_norm": 1e4},
        {"gradient_norm": np.geomspace(1, 1e-9, LINES)},
    ],
)
def test_normalised_rewards_have_no_scale_to_change(tmp_path: Path, columns: dict[str, Any]) -> None:
    plain = to_try(written(tmp_path / "plain", {}, **columns))
    assert any("--reward-scale" in text for text in plain)
    normalised = {"normalize_rewards": True, "reward_scale": 1.0}
    found = to_try(written(tmp_path / "normalised", {}, **columns, **normalised))
    assert not any("--reward-scale" in text for text in found)
    assert len(found) == len(plain) - 1


def test_values_of_normalised_rewards_are_not_compared_with_returns(tmp_path: Path) -> None:
    columns = {"return_mean": 1e-4 * RISE, "value_mean": 3.0}
    assert "the values diverge" in remarks(written(tmp_path / "plain", {}, **columns))["value"]
    normalised = written(tmp_path / "normalised", {}, **columns, normalize_rewards=True, reward_scale=1.0)
    assert "value" not in remarks(normalised)


def test_pqn_whose_values_diverge_is_told_of_layers_and_of_no_target_network(tmp_path: Path) -> None:
    columns = {"return_mean": 1e-4 * RISE, "value_mean": 3.0}
    written(tmp_path / "plain", {}, **columns, algorithm="pqn", layer_norm=False)
    assert "--layer-norm" in advised(tmp_path / "plain", "value")
    written(tmp_path / "normalised", {}, **columns, algorithm="pqn", layer_norm=True)
    for name in ("plain", "normalised"):
        assert "--target-interval" not in advised(tmp_path / name, "value")
    assert "--layer-norm" not in advised(tmp_path / "normalised", "value")


def test_a_method_that_learns_several_times_from_a_rollout_may_do_so_less_often(tmp_path: Path) -> None:
    shares = {"share_environment": 0.2, "share_learn": 0.5, "share_update": 0.2}
    written(tmp_path / "pqn", {}, **shares, algorithm="pqn")
    assert advised(tmp_path / "pqn", "learn").startswith("fewer --epochs; ")
    assert advised(tmp_path / "pqn", "update").startswith("fewer --minibatches; ")
    written(tmp_path / "a3c", {}, **shares)
    assert "fewer --" not in advised(tmp_path / "a3c", "learn") + advised(tmp_path / "a3c", "update")


@pytest.mark.parametrize(("ended_by", "option"), [("steps", "--steps 2000000"), ("time", "--until-seconds 2000")])
def test_a_run_that_still_rises_needs_more_of_what_was_over(tmp_path: Path, ended_by: str, option: str) -> None:
    written(tmp_path, {"ended_by": ended_by}, return_mean=RISE)  # of 1,000 seconds
    assert advised(tmp_path, "return").endswith(f"asyncrl train --resume --run-dir {tmp_path} {option}")


def flat_history(random: np.random.Generator) -> History:
    """Of a run whose episodes all have the same expected return."""
    episodes = np.arange(100, random.integers(900, 1_400), 10)
    returns = random.normal(10, 5, episodes[-1])
    lines = [
        {"episodes": int(n), "steps": 100 * int(n), "return_mean": returns[n - 100 : n].mean(), "updates": 0}
        for n in episodes
    ]
    return History(RunFolder(Path("nowhere")), {}, lines, {"ended_by": "steps"})


def test_of_curves_without_change_few_are_said_to_change() -> None:
    random, rules, curves = np.random.default_rng(0), (returns.collapsed, returns.still_improving), 400
    alarms = sum(bool(list(rule(history))) for history in map(flat_history, [random] * curves) for rule in rules)
    assert alarms <= 0.015 * curves


def test_mean_returns_have_no_episode_in_common() -> None:
    lines = [{"episodes": n, "steps": n, "return_mean": 1.0} for n in (30, 90, 130, 180, 199, 240, 290, 340, 500)]
    assert History(RunFolder(Path("nowhere")), {}, lines, None).returns.steps.tolist() == [130, 240, 340, 500]


def test_a_run_in_training_gets_time_to_learn(tmp_path: Path) -> None:
    flat = {"return_mean": 5 + np.sin(np.arange(LINES) * 2), "steps": 30 * 10**6}
    assert "return" not in remarks(written(tmp_path, **flat))
    assert "the mean return has not changed" in remarks(written(tmp_path, {"ended_by": "time"}, **flat))["return"]
    assert "the mean return has not changed" in remarks(written(tmp_path, **flat | {"steps": 4 * 10**6}))["return"]


def test_a_continuous_policy_is_known_by_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrower = {"entropy": np.r_[8.5, 0.3 * np.ones(LINES - 1)], "return_mean": 3.0}  # six actions, σ a quarter
    discrete = trained(tmp_path / "discrete", monkeypatch, steps=20)
    assert "to 3.5% of its first value" in remarks(written(discrete, {}, **narrower))["entropy"]
    continuous = trained(tmp_path / "continuous", monkeypatch, "Pendulum-v1", steps=20)
    assert "entropy" not in remarks(written(continuous, {}, **narrower))
    for file in continuous.glob("checkpoints/*/*.safetensors"):
        file.write_bytes(b"damaged")
    assert "entropy" in remarks(written(continuous, {}, **narrower))


def test_how_a_run_ended(tmp_path: Path) -> None:
    written(tmp_path)
    assert ", at step 1,000,000 of 1,000,000" in remarks(tmp_path)["run"]
    written(tmp_path, {"status": "stopped", "ended_by": "SIGINT"})
    assert "stopped by SIGINT" in remarks(tmp_path)["run"]
    written(tmp_path, {"status": "failed", "ended_by": "failure", "error": "no worker is left\nTraceback"})
    text = remarks(tmp_path, "bad")["run"]
    assert "no worker is left" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("phase", "hint"),
    [
        ("act", "--envs-per-worker"),
        ("learn", "a smaller network"),
        ("update", "--rollout-length"),
        ("other", "--envs-per-worker"),
    ],
)
def test_a_large_phase_gets_a_hint(tmp_path: Path, phase: str, hint: str) -> None:
    shares = {"environment": 0.5, "act": 0.0, "learn": 0.0, "update": 0.0, "other": 0.0, phase: 0.5}
    written(tmp_path, {f"share_{name}": share for name, share in shares.items()})
    found = {check.name: check.text for check in advise(RunFolder(tmp_path))}
    assert "50%" in found[phase]
    assert hint in advised(tmp_path, phase)


def test_waiting_for_the_environment_is_fine(tmp_path: Path) -> None:
    written(tmp_path, {"share_environment": 0.7, "share_update": 0.3})
    found = {check.name: check.text for check in advise(RunFolder(tmp_path))}
    assert "70% in the environment: fine" in found["workers' time"]
    assert "update" not in found


@pytest.mark.parametrize(
    "setting", ["discount", "workers", "reward_clip", "until_return", "max_gradient_norm", "steps"]
)
def test_a_setting_of_the_wrong_kind_is_one_line(tmp_path: Path, setting: str) -> None:
    folder = RunFolder(written(tmp_path, {}, value_mean=1e6, return_mean=5 + np.sin(np.arange(LINES) * 2)))
    text = folder.experiment_file.read_text()
    folder.experiment_file.write_text(re.sub(rf"^( *{setting}): .*$", r"\1: [x]", text, flags=re.MULTILINE))
    with pytest.raises(UserError, match=f"{setting} is .* not a number"):
        advise(folder)


def test_empty_and_damaged_folders_get_one_line(tmp_path: Path) -> None:
    folder = RunFolder(written(tmp_path, {}))
    for text in ("[1, 2]\n", '{"steps": 1}\n', '{"steps": NaN, "return_mean": 1}\n', "{\n"):
        folder.metrics_file.write_text(text)
        with pytest.raises(UserError) as error:
            advise(folder)
        assert "\n" not in str(error.value)
    folder.metrics_file.write_text("")
    (check,) = advise(folder)
    assert "has not trained long enough" in check.text
    folder.metrics_file.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        advise(folder)


def lake(random: np.random.Generator) -> dict[str, Any]:
    """Metrics of FrozenLake 8 × 8, where one episode of two hundred reaches the goal by chance."""
    share = np.r_[0.01, random.binomial(100, 0.004, LINES - 2) / 100, 0.0]
    return {
        "environment": "FrozenLake8x8-v1",
        "return_mean": share,
        "return_std": np.sqrt(share * (1 - share)),
        "entropy": np.linspace(1.386, 1.35, LINES),
        "value_explained": 0.0,
        "value_mean": 0.003,
    }


def test_too_little_reward_silences_all_other_advice(tmp_path: Path) -> None:
    written(tmp_path, {}, **lake(np.random.default_rng(0)))
    found = remarks(tmp_path)
    assert set(found) == {"return"}
    assert "found next to no reward: its best mean return is" in found["return"]
    assert "0.85 counts as solved" in found["return"]
    assert not any("--learning-rate" in text for text in to_try(tmp_path))


def test_a_single_success_is_no_peak(tmp_path: Path) -> None:
    """Where nothing is known of the environment, the returns of the episodes show how little 0.01 is."""
    few = np.r_[np.zeros(10), 0.01, np.zeros(LINES - 11)]
    metrics = {"return_mean": few, "return_std": np.sqrt(few * (1 - few))}
    text = remarks(written(tmp_path, {}, **metrics))["return"]
    assert "has not changed" in text
    many = np.r_[np.zeros(10), 0.5 * np.ones(20), np.zeros(LINES - 30)]
    metrics = {"return_mean": many, "return_std": np.sqrt(many * (1 - many))}
    assert "the mean return fell from 0.5" in remarks(written(tmp_path, {}, **metrics))["return"]


def test_an_agent_that_learned_to_do_nothing_has_not_found_the_reward(tmp_path: Path) -> None:
    idle = -5 - 25 * np.exp(-np.linspace(0, 20, LINES))  # each action costs; only the flag pays
    written(tmp_path, {}, environment="MountainCarContinuous-v0", return_mean=idle)
    assert "found next to no reward: its best mean return is -5" in remarks(tmp_path)["return"]
    assert "learning" not in remarks(tmp_path, "good")


@pytest.mark.parametrize(
    ("environment", "reached", "goal"),
    [("HalfCheetah-v5", 900.0, "4800"), ("Taxi-v4", -180.0, "8"), ("Pendulum-v1", -900.0, "-200")],
)
def test_known_goals_are_known(tmp_path: Path, environment: str, reached: float, goal: str) -> None:
    noise = np.random.default_rng(0).normal(0, 1, LINES)
    curve = reached - 100 + np.minimum(np.linspace(0, 300, LINES), 100) + noise
    written(tmp_path, {}, environment=environment, return_mean=curve)
    assert f"{goal}, which counts as solved" in remarks(tmp_path)["return"]
    short = tmp_path / "short"
    written(short, {}, environment=environment, return_mean=curve)
    lines = RunFolder(short).metrics_file.read_text().splitlines(keepends=True)
    RunFolder(short).metrics_file.write_text("".join(lines[-2:]))
    assert f"{goal} counts as solved here" in remarks(short)["return"]


def test_a_few_lucky_episodes_do_not_solve_an_environment(tmp_path: Path) -> None:
    few = lake(np.random.default_rng(0))
    few["return_mean"][0] = 1.0
    folder = RunFolder(written(tmp_path, {}, **few))
    first, *others = folder.metrics_file.read_text().splitlines(keepends=True)
    folder.metrics_file.write_text(json.dumps(json.loads(first) | {"episodes": 2}) + "\n" + "".join(others))
    assert "found next to no reward" in remarks(tmp_path)["return"]


def test_no_report_advises_opposite_changes(tmp_path: Path) -> None:
    """Runs in which many things went wrong at once, at random."""
    random = np.random.default_rng(0)
    choices: dict[str, Sequence[Any]] = {
        "environment": ["test/Clock-v0", "FrozenLake8x8-v1", "MountainCarContinuous-v0", "CartPole-v1"],
        "return_mean": [RISE, RISE[::-1], 5 + np.sin(np.arange(LINES) * 2), 0.0, np.r_[RISE[::2], RISE[::-2]], -5.0],
        "entropy": [1.0, np.r_[1.0, 0.001 * np.ones(LINES - 1)], np.linspace(1, 0.4, LINES)],
        "value_explained": [0.0, 0.7],
        "value_mean": [3.0, 1e6],
        "gradient_norm": [1.0, 1e4, np.geomspace(1, 1e6, LINES), np.geomspace(1, 1e-9, LINES)],
        "reward_clip": [None, 1.0],
        "workers": [1, available_cores() + 1],
        "dropped_updates": [0, 12],
    }
    contradictory = 0
    for number in range(60):
        chosen = {name: values[random.integers(len(values))] for name, values in choices.items()}
        checks = advise(RunFolder(written(tmp_path / str(number), {}, **chosen)))
        advice = [advice for check in checks for advice in check.advice]
        wanted = {(advice.subject, advice.direction) for advice in advice}
        contradictory += any((subject, "lower") in wanted and direction == "higher" for subject, direction in wanted)
        tried = [check.text.rpartition(" (")[0] for check in checks if check.name.startswith("try")]
        subjects = [{other.subject for other in advice if other.text == text}.pop() for text in tried]
        assert len(set(subjects)) == len(subjects), tried
        assert set(subjects) == {advice.subject for advice in advice}
    assert contradictory  # the rules alone would contradict each other


def test_what_to_try_is_one_list_without_contradictions() -> None:
    lower, higher = Advice("learning_rate", "lower", "less"), Advice("learning_rate", "higher", "more")
    other, steps = Advice("learning_rate", "other", "another"), Advice("steps", "higher", "longer")
    first, second = Check("return", "note", "", (other, steps)), Check("entropy", "note", "", (lower,))
    third = Check("value", "note", "", (higher, steps))
    assert what_to_try([first, second, third]) == ["less (entropy)", "longer (return, value)"]


@pytest.mark.parametrize(("environment", "remedy"), [("test/Endless-v0", "a time limit"), ("CartPole-v1", "longer")])
def test_a_run_in_which_no_episode_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str, remedy: str
) -> None:
    steps = 5_000 if environment == "test/Endless-v0" else 20
    folder = trained(tmp_path / "run", monkeypatch, environment, steps=steps, rollout_length=2)
    assert "no episode has ended" in remarks(folder)["return"]
    assert set(remarks(folder)) == {"return"}
    assert to_try(folder)[0].startswith(remedy)


@pytest.mark.parametrize("lines", [1, 2])
def test_a_run_of_hardly_any_lines(tmp_path: Path, lines: int) -> None:
    folder = RunFolder(written(tmp_path, {}, value_mean=0.01))
    folder.metrics_file.write_text("".join(folder.metrics_file.read_text().splitlines(keepends=True)[:lines]))
    assert remarks(tmp_path) == {}
