"""Puts the chapters together: one page that needs nothing else, and the pictures beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from asyncrl.agent import Agent
from asyncrl.algorithms import algorithm_name
from asyncrl.analysis.advice import advise
from asyncrl.analysis.drawing import gradient, to_png, to_svg
from asyncrl.analysis.inspection.chapter import Chapter, NotShownError, Subject
from asyncrl.analysis.inspection.embedding import show_embedding
from asyncrl.analysis.inspection.film import show_film
from asyncrl.analysis.inspection.filters import show_filters
from asyncrl.analysis.inspection.first_policy import show_first_policy
from asyncrl.analysis.inspection.moments import show_moments
from asyncrl.analysis.inspection.optimum import show_optimum
from asyncrl.analysis.inspection.recording import record
from asyncrl.analysis.inspection.saliency_chapter import show_saliency
from asyncrl.analysis.inspection.streams import show_streams
from asyncrl.analysis.inspection.training_curves import show_training
from asyncrl.analysis.inspection.value_map import show_map
from asyncrl.analysis.readout import readout_of
from asyncrl.check import Check
from asyncrl.errors import UserError
from asyncrl.run_folder import RunFolder, write_bytes, write_text

REPORT = "report.html"
PICTURES = (
    *("episode", "moments_*", "saliency_*", "streams", "value_and_policy", "optimum*", "embedding", "filters_*"),
    *("training", "first_policy"),
)
"""Names of files that an older report may have left."""
RECORDING_SHARE = 0.4
"""Of the time that a report takes, roughly."""

Progress = Callable[[str, float], None]
"""Takes what is being done, and the share that is done."""


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
    """Writes the report of an agent and its pictures.

    Args:
        run: Whose curves are shown.
        agent: Its agent.
        output: Folder to write to; files of an older report there are replaced.
        states: Number of states to look at.
        seconds: At most this long is played.
        deterministic: Take the best known actions.
        dimensions: Two entries of a vector, for the map of value and policy.
        seed: Of environment, actions and t-SNE.
        progress: Told how far it is.

    Returns:
        The page.

    Raises:
        UserError: Nothing is known of such a network, or the folder cannot be written to.
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
    shown: list[Chapter] = []
    missing: list[Missing] = []
    chapters = _chapters(output)
    for number, (title, make) in enumerate(chapters):
        progress(title.lower(), RECORDING_SHARE + (1 - RECORDING_SHARE) * number / len(chapters))
        try:
            shown.append(make(subject))
        except (NotShownError, UserError) as reason:
            missing.append(Missing(title, str(reason)))
        except ImportError as error:
            missing.append(Missing(title, f'{error.name} is not installed: pip install "asyncrl[analysis]"'))
        except Exception as error:  # the other chapters must not be lost for one, after all that playing
            missing.append(Missing(title, f"a mistake on the way ({type(error).__name__}: {error})"))
    page = _page(subject, shown, missing, time.monotonic() - started)
    try:
        for old in (file for name in PICTURES for file in output.glob(f"{name}.png")):
            old.unlink()
        for chapter in shown:
            for picture in chapter.pictures:
                write_bytes(output / f"{picture.name}.png", to_png(picture.figure))
        write_text(output / REPORT, page)
    except OSError as error:
        raise UserError(f"cannot write to {output} ({error.strerror}): choose another --output") from error
    progress("done", 1.0)
    return output / REPORT


def _chapters(output: Path) -> list[tuple[str, Callable[[Subject], Chapter]]]:
    return [
        ("An episode", partial(show_film, folder=output)),
        ("Moments that stand out", show_moments),
        ("What it looks at", show_saliency),
        ("Value and advantage streams", show_streams),
        ("Value and policy over two dimensions", show_map),
        ("Against the exact optimum", show_optimum),
        ("What it takes for alike", show_embedding),
        ("First layer", show_filters),
        ("How it was trained", show_training),
        ("Before it learned anything", show_first_policy),
    ]


def _check_dimensions(agent: Agent, dimensions: Sequence[int]) -> None:
    if not dimensions:
        return
    shape: tuple[int, ...] = agent.info.observation_space.shape or ()
    if len(shape) != 1:
        raise UserError("--dimensions are of a vector, and this agent observes something else: leave them out")
    if (
        len(dimensions) != 2
        or len(set(dimensions)) != 2
        or not all(0 <= dimension < shape[0] for dimension in dimensions)
    ):
        raise UserError(f"--dimensions takes two different numbers from 0 to {shape[0] - 1}")


def _page(subject: Subject, shown: Sequence[Chapter], missing: Sequence[Missing], seconds: float) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("asyncrl.analysis", "pages"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["svg"] = to_svg
    environment.policies["json.dumps_kwargs"] = {}  # as they come, not sorted
    page: str = environment.get_template("report.html").render(
        title=subject.run.path.resolve().name.encode("utf-8", "replace").decode(),
        facts=_facts(subject),
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
    ended = [number for number, end in enumerate(recording.ends) if end]
    returns = [float(recording.rewards[recording.episode == number].sum()) for number in ended]
    facts = {
        "environment": subject.agent.info.id,
        "algorithm": algorithm_name(experiment.algorithm),
        "trained for": f"{subject.agent.steps:,} steps",
        "memory": experiment.network.memory,
        "parameters": f"{sum(parameter.numel() for parameter in subject.agent.network.parameters()):,}",
        "looked at": f"{len(recording):,} states, played in {recording.seconds:.0f} s",
    }
    if recording.why_shades:
        facts["pictures"] = "of what it observes: the environment draws none"
    if returns:
        facts["return"] = (
            f"{sum(returns) / len(returns):.4g} in {len(returns)} episode{'s' if len(returns) > 1 else ''}"
        )
    return facts
