"""Your own code while a run goes on: its longest episodes, a look at each saved agent, and an end of your own.

Run it with `python examples/own_callback.py`; it takes some seconds.
"""

import asyncrl
from asyncrl.callbacks import Callback, CheckpointSaved, Ended, EpisodeEnded, MetricsWritten, Started


class Records(Callback):
    """Tells of episodes that are much longer than all before, and looks at the agent of each checkpoint."""

    def __init__(self) -> None:
        self.longest = 0

    def on_start(self, start: Started) -> None:
        """Called once, when the workers have been started."""
        print(f"{start.experiment.environment} in {start.run_dir}, session {start.session}")

    def on_episode(self, episode: EpisodeEnded) -> None:
        """Called for each training episode."""
        if episode.length > 1.5 * self.longest:
            print(f"episode {episode.number} of worker {episode.worker} lasted {episode.length} steps")
        self.longest = max(self.longest, episode.length)

    def on_checkpoint(self, checkpoint: CheckpointSaved) -> None:
        """Called when a checkpoint is on disk: now its agent can be loaded."""
        agent = asyncrl.load(checkpoint.run_dir)
        found = agent.evaluate(episodes=5, deterministic=True)
        print(f"greedy, at step {checkpoint.steps}: {found.return_mean:.0f}")

    def on_end(self, end: Ended) -> None:
        """Called when the run is over and saved."""
        print(f"{end.status}, ended by {end.ended_by}; the longest episode had {self.longest} steps")


class GoodEnough(Callback):
    """Ends the run when the mean return has been above a goal for some lines of metrics."""

    def __init__(self, goal: float, lines: int) -> None:
        self.goal, self.lines, self.good = goal, lines, 0

    def on_metrics(self, metrics: MetricsWritten) -> bool:
        """Called for each line of metrics; True ends the run."""
        reached = metrics.return_mean is not None and metrics.return_mean >= self.goal
        self.good = self.good + 1 if reached else 0
        return self.good >= self.lines


if __name__ == "__main__":  # workers are processes that import this file
    asyncrl.train("CartPole-v1", steps=300_000, callbacks=[Records(), GoodEnough(50.0, lines=2)])
