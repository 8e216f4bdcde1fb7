"""The trials of a tuning in one SQLite file, and Optuna's choice of what to try next and what to give up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from asyncrl.errors import UserError
from asyncrl.installing import install_command
from asyncrl.tune.specification import Dimension, Tuning, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

FILE = "study.db"
ERROR, NAME, STEPS = "error", "name", "steps"
"""What is kept of a trial beside its values and its score."""
FIRST_TRIALS = 4
"""Trials that are trained to their end before any is given up."""


def check_optuna() -> None:
    """Makes sure that Optuna is installed.

    Raises:
        UserError: It is not.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        remedy = install_command("asyncrl[tuning]")
        raise UserError(f"tuning needs Optuna, which is not installed ({error}): {remedy}") from error


class Study:
    """The trials of one tuning. Only one process may use it at a time.

    Args:
        folder: Folder of the tuning.
        tuning: Its description.
        start: Values to try first; empty if there are none.
        earliest: Tenth of a run's time before which no trial is given up.

    Raises:
        UserError: The file cannot be used.
    """

    def __init__(self, folder: Path, tuning: Tuning, start: Mapping[str, Value], earliest: int) -> None:
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space = {name: _distribution(dimension) for name, dimension in tuning.search.items()}
        new = not (folder / FILE).exists()
        try:
            self.study = optuna.create_study(
                storage=f"sqlite:///{folder / FILE}",
                study_name="tuning",
                direction="maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(FIRST_TRIALS, n_warmup_steps=earliest),
            )
            trials = self.study.get_trials(deepcopy=False)
        except SQLAlchemyError as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{folder / FILE} cannot be used ({reason}): choose another --dir") from error
        # a continued search draws other numbers than its beginning did
        self.study.sampler = optuna.samplers.TPESampler(seed=tuning.seeds[0] + len(trials))
        if new and start:
            self.study.enqueue_trial(dict(start))
        self._begin_interrupted_trials_again(trials)

    def _begin_interrupted_trials_again(self, trials: list[FrozenTrial]) -> None:
        from optuna.trial import TrialState

        for trial in trials:
            if trial.state == TrialState.RUNNING:
                self.study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)
                self.study.tell(trial.number, state=TrialState.FAIL)

    def ask(self) -> Trial:
        """The next trial; it keeps the name by which its runs are found again."""
        trial = self.study.ask(self.space)
        if NAME not in trial.user_attrs:
            trial.set_user_attr(NAME, f"trial-{trial.number + 1}")
        return trial

    @property
    def ended(self) -> list[FrozenTrial]:
        """The trials that have a score, were given up or failed."""
        return [
            trial
            for trial in self.study.get_trials(deepcopy=False)
            if trial.state.is_finished() and (trial.value is not None or _is_pruned(trial) or ERROR in trial.user_attrs)
        ]

    @property
    def scored(self) -> list[FrozenTrial]:
        """The trials that were trained to their end, the best one first."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return sorted(trials, key=lambda trial: -(trial.value or 0.0))


def _is_pruned(trial: FrozenTrial) -> bool:
    from optuna.trial import TrialState

    return trial.state == TrialState.PRUNED


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    if dimension.whole:
        return IntDistribution(round(dimension.low), round(dimension.high), log=True)
    return FloatDistribution(dimension.low, dimension.high, log=True)
