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
    """Shows an agent play: in a window, as a video file, or live in a browser while it is trained."""

    run: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    episodes: int = 1
    """Episodes to play."""
    video: Path | None = None
    """Write this .mp4 or .gif instead of opening a window."""
    serve: bool = False
    """Serve pages for a browser on this machine: the agent at play with its newest parameters, and its training."""
    port: int | None = None
    """Of --serve; by default the first free one from 6010."""
    deterministic: bool = False
    """Take the most probable action instead of drawing one."""
    checkpoint: str = "last"
    """last, best (of the highest mean return), or the step of a checkpoint."""
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import")] = ()
    """Modules of your own that the run may import: nothing else of a run folder is ever executed."""
    seed: int = 0
    """Of environment and actions."""
    max_steps: int | None = None
    """Stop after this many steps, even in the middle of an episode."""


def main(arguments: Sequence[str]) -> int:
    """Writes the video or shows the window."""
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

    from asyncrl.envs.make import has_display

    if given.video is None and not has_display():
        raise UserError("there is no display to open a window on: write a video with --video FILE.mp4, or take --serve")

    import torch

    from asyncrl.agent import load
    from asyncrl.analysis.episode import Moment, Stage, write_video
    from asyncrl.analysis.window import show

    torch.set_num_threads(1)
    agent = load(given.run, checkpoint=given.checkpoint, modules=given.imports)
    for warning in agent.warnings:
        print(f"warning: {warning}; using an older one", file=sys.stderr)
    returns: list[float] = []

    def moments() -> Iterator[Moment]:
        for number, moment in enumerate(stage.play(given.episodes, given.deterministic, given.seed)):
            if given.max_steps is not None and number > given.max_steps:
                return
            if moment.last:
                returns.append(moment.total_reward)
            yield moment

    with Stage(agent) as stage:
        if stage.why_shades:
            print(f"warning: {stage.why_shades}: what the agent observes is shown instead", file=sys.stderr)
        if given.video is None:
            show(moments(), f"{agent.info.id} · {given.run}", stage.rate)
        else:
            write_video((moment.frame for moment in moments()), given.video, stage.rate)
            print(f"wrote {given.video}")
    print("returns: " + (", ".join(f"{total:g}" for total in returns) or "no episode came to its end"))
    return 0


def _serve(given: Arguments) -> int:
    """Serves the pages until Ctrl-C."""
    if given.video is not None or given.max_steps is not None or given.episodes != 1:
        raise UserError("--serve plays until you end it: leave out --video, --episodes and --max-steps")

    from asyncrl.run_folder import open_run_folder
    from asyncrl.serve.latest import LatestAgent
    from asyncrl.serve.server import serve

    folder = open_run_folder(given.run)
    latest = LatestAgent(folder, given.checkpoint, given.imports)

    def tell(address: str) -> None:
        print(
            f"{given.run} is shown at {address} (the training alone at {address}training); Ctrl-C ends it", flush=True
        )

    return serve(folder, latest, given.deterministic, given.seed, given.port, tell)
