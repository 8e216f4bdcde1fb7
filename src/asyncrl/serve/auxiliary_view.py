"""What auxiliary tasks say while an agent plays: pixel control and reward prediction (Jaderberg et al. 2017)."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch

from asyncrl import functional as F
from asyncrl.analysis.episode import Decision
from asyncrl.analysis.json_numbers import json_numbers
from asyncrl.auxiliary.reward_prediction import HISTORY
from asyncrl.runtime.agent import Agent
from asyncrl.serve.pictures import data_url
from asyncrl.tree import tree_map

CLASSES = (F.auxiliary.NEGATIVE, F.auxiliary.ZERO, F.auxiliary.POSITIVE)
"""Classes of rewards in the order in which they are sent."""


class AuxiliaryView:
    """Reads the heads of auxiliary tasks along a game.

    Args:
        agent: The agent that plays; its parameters may change between steps.
    """

    def __init__(self, agent: Agent) -> None:
        tasks = getattr(agent.experiment.algorithm, "tasks", {})
        self.controls, self.predicts = "pixel_control" in tasks, "reward_prediction" in tasks
        self.recent: deque[Any] = deque(maxlen=HISTORY)  # observations of this episode
        self.highest = 1e-9  # value of a cell so far

    def observe(self, decision: Decision) -> None:
        """Takes in each step of the game."""
        if bool(decision.first):
            self.recent.clear()
        self.recent.append(decision.observation)

    def read(self, agent: Agent, decision: Decision) -> dict[str, Any]:
        """What a page shows of the step that was observed last.

        Args:
            agent: The agent with its present parameters.
            decision: Of that step.

        Returns:
            `control`: how much each cell of the image can be changed, as a picture. `predicted`: the probabilities of a
            negative reward, none and a positive one, from the third step of an episode on. None for a task that the
            agent does not have.
        """
        control, predicted = None, None
        with torch.no_grad():
            if self.controls:
                outputs, _ = agent.network(decision.observation, decision.state, decision.first, ["pixel_control"])
                values = outputs["pixel_control"][0, 0].amax(-1).numpy()  # [rows, columns]
                self.highest = max(self.highest, float(values.max()))
                control = data_url((255 * (values / self.highest).clip(0, 1)).astype(np.uint8))
            if self.predicts and len(self.recent) == HISTORY:
                seen = tree_map(lambda *rows: torch.cat(rows), *self.recent)
                logits = agent.network.see(seen, ["reward_prediction"])["reward_prediction"][-1, 0]
                predicted = json_numbers(logits.softmax(-1)[list(CLASSES)].numpy())
        return {"control": control, "predicted": predicted}
