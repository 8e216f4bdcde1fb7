"""Writes the report: one self-contained page, and its pictures as files beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from asyncrl.algorithms import algorithm_name
from asyncrl.analysis.advice import advise
from asyncrl.analysis.drawing import gradient, to_png, to_svg
from asyncrl.analysis.inspection.auxiliary_chapter import show_auxiliary
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Subject
from asyncrl.analysis.inspection.embedding import show_embedding
from asyncrl.analysis.inspection.episode_chapter import show_episode
from asyncrl.analysis.inspection.filters import show_filters
from asyncrl.analysis.inspection.first_policy import show_first_policy
from asyncrl.analysis.inspection.notable_states import show_notable_states
from asyncrl.analysis.inspection.optimum import show_optimum
from asyncrl.analysis.inspection.paths import show_paths
from asyncrl.analysis.inspection.recording import record
from asyncrl.analysis.inspection.saliency_chapter import show_saliency
from asyncrl.analysis.inspection.streams import show_streams
from asyncrl.analysis.inspection.training_curves import show_training
from asyncrl.analysis.inspection.value_map import show_map
from asyncrl.analysis.inspection.verdict import verdict_on
from asyncrl.analysis.readout import readout_of
from asyncrl.check import Check
from asyncrl.errors import UserError
from asyncrl.files import write_bytes, write_text
from asyncrl.installing import install_command
from asyncrl.run_folder import RunFolder
from asyncrl.runtime.agent import Agent

REPORT = "report.html"
PICTURES = (
    *(
        "episode",
        "notable_states_*",
        "saliency_*",
        "streams",
        "paths",
        "pixel_control",
        "reward_prediction",
        "value_and_policy",
        "optimum*",
        "embedding",
        "filters_*",
    ),
    *("training", "first_policy"),
)
"""Names of the pictures that an older report may have left in the folder."""
RECORDING_SHARE = 0.4
"""Share of the report's time that playing takes, roughly."""

Progress = Callable[[str, float], None]
"""Is called with what is being done, and the share of the work that is done."""


@dataclass(frozen=True)
class Missing:
    """A chapter that cannot be shown."""

    title: str
    reason: str


def inspect(
    run: RunFolder,
    agent: Agent,
    output: Path,
    *,
    states: int,
    seconds: float,
    deterministic: bool,
    dimensions: Sequence[int],
    seed: int,
    progress: Progress,
) -> Path:
    """Writes the report on an agent, with its pictures.

    Args:
        run: The run that trained the agent.
        agent: The agent to inspect.
        output: Folder to write to; an older report there is replaced.
        states: Number of states to record.
        seconds: Time limit for playing.
        deterministic: Take the most probable action instead of drawing one.
        dimensions: Two entries of the observation for the map of value and policy; empty: the most important two.
        seed: Seed for the environment, the drawn actions and t-SNE.
        progress: Is called as the work goes on.

    Returns:
        The path of the page.

    Raises:
        UserError: The network cannot be read, or the folder cannot be written to.
    """
    started = time.monotonic()
    readout = readout_of(agent)
    _check_dimensions(agent, dimensions)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {output} ({error.strerror}): choose another --output") from error
    recording = record(
        agent,
        readout,
        states=states,
        seconds=seconds,
        deterministic=deterministic,
        seed=seed,
        progress=lambda share: progress("playing", RECORDING_SHARE * share),
    )
    subject = Subject(run, recording, tuple(dimensions), seed)
    shown: list[tuple[str, Chapter]] = []
    missing: list[Missing] = []
    chapters = _chapters(output)
    for number, (title, make) in enumerate(chapters):
        progress(title.lower(), RECORDING_SHARE + (1 - RECORDING_SHARE) * number / len(chapters))
        try:
            shown.append((title, make(subject)))
        except (NotShownError, UserError) as reason:
            missing.append(Missing(title, str(reason)))
        except ImportError as error:
            remedy = install_command("asyncrl[analysis]")
            missing.append(Missing(title, f"{error.name} is not installed: {remedy}"))
        except Exception as error:  # one chapter must not cost the others
            missing.append(Missing(title, f"it failed with {type(error).__name__}: {error}"))
    page = _page(subject, shown, missing, time.monotonic() - started)
    try:
        for old in (file for name in PICTURES for file in output.glob(f"{name}.png")):
            old.unlink()
        for _, chapter in shown:
            for picture in chapter.pictures:
                write_bytes(output / f"{picture.name}.png", to_png(picture.figure))
        write_text(output / REPORT, page)
    except OSError as error:
        raise UserError(f"cannot write to {output} ({error.strerror}): choose another --output") from error
    progress("done", 1.0)
    return output / REPORT


def _chapters(output: Path) -> list[tuple[str, Callable[[Subject], Chapter]]]:
    return [
        ("Episodes", partial(show_episode, folder=output)),
        ("States that stand out", show_notable_states),
        ("What the agent looks at", show_saliency),
        ("Value and advantage streams", show_streams),
        ("Paths seen from above", show_paths),
        ("Auxiliary tasks", show_auxiliary),
        ("Value and policy over two dimensions", show_map),
        ("Comparison with the exact optimum", show_optimum),
        ("States the agent treats alike", show_embedding),
        ("First layer", show_filters),
        ("Training curves", show_training),
        ("Before training", show_first_policy),
    ]


def _check_dimensions(agent: Agent, dimensions: Sequence[int]) -> None:
    if not dimensions:
        return
    shape: tuple[int, ...] = agent.info.observation_space.shape or ()
    if len(shape) != 1:
        raise UserError(
            "--dimensions needs an observation that is a vector, which this agent does not have: leave it out"
        )
    if (
        len(dimensions) != 2
        or len(set(dimensions)) != 2
        or not all(0 <= dimension < shape[0] for dimension in dimensions)
    ):
        raise UserError(f"--dimensions takes two different numbers from 0 to {shape[0] - 1}")


def _page(subject: Subject, shown: Sequence[tuple[str, Chapter]], missing: Sequence[Missing], seconds: float) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("asyncrl.analysis", "pages"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["svg"] = to_svg
    environment.policies["json.dumps_kwargs"] = {}  # keep the order of keys
    page: str = environment.get_template("report.html").render(
        title=subject.run.path.resolve().name.encode("utf-8", "replace").decode(),
        facts=_facts(subject),
        verdict=verdict_on(subject, [chapter.finding for _, chapter in shown if chapter.finding]),
        remarks=[check for check in _remarks(subject.run) if check.verdict != "good"],
        chapters=shown,
        missing=missing,
        gradient=gradient(),
        seconds=round(seconds),
    )
    return page


def _remarks(run: RunFolder) -> list[Check]:
    try:
        return advise(run)
    except UserError as error:
        return [Check("run", "bad", str(error))]


def _facts(subject: Subject) -> dict[str, str]:
    experiment, recording = subject.agent.experiment, subject.recording
    facts = {
        "environment": subject.agent.info.id,
        "algorithm": algorithm_name(experiment.algorithm),
        "trained for": f"{subject.agent.steps:,} steps",
        "memory": experiment.network.memory,
        "parameters": f"{sum(parameter.numel() for parameter in subject.agent.network.parameters()):,}",
        "recording": f"{len(recording):,} states, played in {recording.seconds:.0f} s",
    }
    if experiment.normalize_rewards:
        deviation = subject.agent.return_deviation
        facts["training units"] = f"rewards divided by {deviation:.4g}, the deviation of returns (--normalize-rewards)"
    if experiment.exploration_bonus != "none":
        facts["exploration bonus"] = "values include the bonuses of --exploration-bonus, and returns do not"
    if recording.render_problem:
        facts["pictures"] = "observations, because the environment cannot draw itself"
    return facts
