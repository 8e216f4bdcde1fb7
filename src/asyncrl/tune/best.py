"""The best trial of a tuning as a preset file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncrl.algorithms import algorithm_name
from asyncrl.config import Experiment
from asyncrl.presets import find_preset
from asyncrl.presets.file import PresetFile, differences, write_preset
from asyncrl.tune.specification import Tuning
from asyncrl.tune.study import NAME, STEPS, Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FILE = "best.yaml"
OF_THIS_RUN = ("seed", "until_seconds")
"""Settings of a trial that are no part of what was found."""


def write_best(folder: Path, tuning: Tuning, study: Study, start: Experiment) -> Path:
    """Writes the trial with the highest score as a preset file, and returns its path.

    Args:
        folder: Folder of the tuning.
        tuning: Its description.
        study: Its trials, at least one of which has a score.
        start: The experiment that the search started from.
    """
    best, preset = study.scored[0], find_preset(start.preset)
    algorithm = algorithm_name(start.algorithm)
    root = find_preset(preset.base or preset.name).experiment(start.environment, algorithm)
    found = differences(_experiment(folder, tuning, best), root)
    content = PresetFile(
        preset=preset.base or preset.name,
        algorithm=algorithm,
        settings={name: value for name, value in found.items() if name not in OF_THIS_RUN},
        environment=start.environment,
        score=best.value,
        found=_how(tuning, study),
    )
    write_preset(folder / FILE, content)
    return folder / FILE


def _experiment(folder: Path, tuning: Tuning, trial: FrozenTrial) -> Experiment:
    planned = tuning.plan(
        folder,
        f"{trial.user_attrs[NAME]},seed={tuning.seeds[0]}",
        trial.params,
        trial.user_attrs[STEPS],
        tuning.seeds[0],
    )
    return planned.run.read_experiment(planned.modules)


def _how(tuning: Tuning, study: Study) -> dict[str, Any]:
    return {
        "trial": study.scored[0].user_attrs[NAME],
        "trials": len(study.ended),
        "seconds_per_trial": tuning.seconds,
        "seeds": list(tuning.seeds),
        "evaluation_episodes": tuning.episodes,
        "evaluation": "greedy" if tuning.deterministic else "sampled actions",
        "searched": {name: str(dimension) for name, dimension in tuning.search.items()},
    }
