"""`asyncrl watch`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from asyncrl.cli.arguments import parse
from asyncrl.config import check_seed
from asyncrl.errors import UserError


@dataclass(frozen=True)
class Arguments:
    """Shows an agent at play: in a window, in a video file, or in a browser, also while it trains."""

    run: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    episodes: int = 1
    """Number of episodes to play."""
    video: Path | None = None
    """Video file to write (.mp4 or .gif) instead of opening a window."""
    serve: bool = False
    """Serve web pages on this machine: the agent at play with its newest parameters, and its training."""
    port: int | None = None
    """Port for --serve; the default is the first free port from 6010."""
    deterministic: bool = False
    """Take the most probable action instead of drawing one."""
    checkpoint: str = "last"
    """Checkpoint to load: last, best (highest mean return), or a step."""
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import")] = ()
    """Modules of your own that the run may import. Nothing else that a run folder names is ever executed."""
    seed: int = 0
    """Seed for the environment and the drawn actions."""
    max_steps: int | None = None
    """Stop after this many steps, even in the middle of an episode. Videos stop after 10,000 steps by default."""


def main(arguments: Sequence[str]) -> int:
    """Shows the window, writes the video or serves the pages."""
    given = parse(Arguments, "watch", arguments)
    if given.episodes < 1 or (given.max_steps is not None and given.max_steps < 1):
        raise UserError("--episodes and --max-steps must be at least 1")
    check_seed(given.seed)
    if given.serve:
        return _serve(given)
    if given.port is not None:
        raise UserError("--port belongs to --serve")
    if given.video is not None and given.video.suffix not in (".mp4", ".gif"):
        raise UserError(f"videos end in .mp4 or .gif, not {given.video.name!r}")

    from asyncrl.analysis.window import ALTERNATIVES, show
    from asyncrl.envs.make import has_display

    if given.video is None and not has_display():
        raise UserError(f"there is no display to open a window on: {ALTERNATIVES}")

    import torch

    from asyncrl.agent import load
    from asyncrl.analysis.episode import EpisodePlayer, Step
    from asyncrl.analysis.video import MOST_STEPS, write_video

    torch.set_num_threads(1)
    agent = load(given.run, checkpoint=given.checkpoint, modules=given.imports)
    for warning in agent.warnings:
        print(f"warning: {warning}; using an older one", file=sys.stderr)
    returns: list[float] = []
    limit = given.max_steps or (MOST_STEPS if given.video else sys.maxsize)

    def steps() -> Iterator[Step]:
        for number, step in enumerate(player.play(given.episodes, given.deterministic, given.seed)):
            if number > limit:
                if given.max_steps is None:
                    print(f"warning: the video stops after {limit:,} steps: --max-steps allows more", file=sys.stderr)
                return
            if step.last:
                returns.append(step.total_reward)
            yield step

    with EpisodePlayer(agent) as player:
        if player.render_problem:
            print(f"warning: {player.render_problem}: the observation is shown instead", file=sys.stderr)
        if given.video is None:
            show(steps(), f"{agent.info.id} · {given.run}", player.fps)
        else:
            write_video((step.frame for step in steps()), given.video, player.fps)
            print(f"wrote {given.video}")
    print("returns: " + (", ".join(f"{total:g}" for total in returns) or "no episode ended"))
    return 0


def _serve(given: Arguments) -> int:
    """Serves the pages until Ctrl-C."""
    if given.video is not None or given.max_steps is not None or given.episodes != 1:
        raise UserError("--serve plays until Ctrl-C: leave out --video, --episodes and --max-steps")

    from asyncrl.run_folder import open_run_folder
    from asyncrl.serve.latest import LatestAgent
    from asyncrl.serve.server import serve

    folder = open_run_folder(given.run)
    latest = LatestAgent(folder, given.checkpoint, given.imports)

    def announce(address: str) -> None:
        print(f"open {address} in a browser (training only: {address}training); Ctrl-C ends the server", flush=True)

    return serve(folder, latest, given.deterministic, given.seed, given.port, announce)
