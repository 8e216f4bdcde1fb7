"""The goal of a run, a mean return: when to check by an evaluation whether it is reached, and the answer."""

from __future__ import annotations

from asyncrl.types import Evaluation

GROWTH = 0.1
"""After an evaluation below the goal, the run must grow by this share of its steps before the next one."""
COST = 2
"""It must also make this many times the steps of that evaluation, so that at most a third of all steps are played
in evaluations."""
FEW = 5
"""Number of episodes, or a tenth of all if that is more, that say whether all of them are worth their time."""


class Goal:
    """Decides when an evaluation checks whether the goal is reached, and keeps the one that says so.

    The mean return of the last 100 training episodes may reach a goal by luck, so it only asks for an evaluation. An
    algorithm that explores (ε-greedy) plays worse in training than the trained agent does, and its training return may
    never reach a goal that the agent has passed. For such an algorithm the next evaluation is due as soon as it may be.

    After an evaluation below the goal the next one has to wait, for two reasons. It costs time, and each try is a
    chance for luck: the number of tries grows with the logarithm of the run's steps.

    Where training returns are below the goal, a few episodes are played first, and all of them only if these reach it.

    Args:
        mean_return: The goal; None for a run without one.
        explores: Whether workers act differently in training than the trained agent does.
        wait_until: Global step before which no evaluation is due, from a checkpoint.
    """

    def __init__(self, mean_return: float | None, explores: bool, wait_until: int = 0) -> None:
        self.mean_return, self.explores, self.wait_until = mean_return, explores, wait_until
        self.reached_at: int | None = None  # global step of the agent that reached the goal
        self.evaluation: Evaluation | None = None  # of that agent

    def is_due(self, mean_return: float | None, steps: int) -> bool:
        """Whether an evaluation should check the goal now.

        Args:
            mean_return: Mean return of the last 100 training episodes, or of a periodic evaluation that has met the
                goal; None before there are so many episodes.
            steps: Global step.
        """
        if self.mean_return is None or mean_return is None or steps < self.wait_until or self.reached:
            return False
        return self.explores or self.is_met_by(mean_return)

    def episodes(self, mean_return: float | None, all_of_them: int) -> int:
        """Number of episodes of an evaluation that is due.

        Args:
            mean_return: What made it due.
            all_of_them: Number of episodes that decide whether the goal is reached.
        """
        few = min(all_of_them, max(FEW, all_of_them // 10))
        return all_of_them if self.is_met_by(mean_return) else few

    def is_met_by(self, mean_return: float | None) -> bool:
        """Whether a mean return is as high as the goal."""
        return self.mean_return is not None and mean_return is not None and mean_return >= self.mean_return

    def check(self, steps: int, evaluation: Evaluation) -> None:
        """Takes the evaluation of the agent of that global step."""
        if self.is_met_by(evaluation.return_mean):
            self.reached_at, self.evaluation = steps, evaluation
        else:
            self.postpone(steps, round(evaluation.episodes * evaluation.length_mean))

    def postpone(self, steps: int, played: int = 0) -> None:
        """Lets the next evaluation wait after one that began at a global step, played some steps and gave no answer."""
        self.wait_until = steps + max(round(GROWTH * steps), COST * played, 1)

    @property
    def reached(self) -> bool:
        """Whether an evaluation has said so."""
        return self.evaluation is not None
