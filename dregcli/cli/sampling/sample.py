"""``dreg sample``."""

from typing import Annotated, Any

import typer

from dregcli.app.common.places import data_folder_if_any, runs_folder
from dregcli.cli.options import Checkpoint, DataDir, Json, Quiet, RunModel, RunsDir, TrustCode, split_option
from dregcli.cli.render import Terminal
from dregcli.cli.settings import with_settings
from dregcli.defaults import PICTURE_HEIGHT

EXAMPLES = """Draw from the newest completed version of a name:  [bold]dreg sample runs/digits-iwae-dreg-k64[/bold]

Draw larger pictures from the best checkpoint:  \
[bold]dreg sample digits-iwae-dreg-k64 --checkpoint best --scale 8[/bold]"""


@with_settings(("device", "threads"))
def sample(
    run: Annotated[str, typer.Argument(help="Run to draw from: a name (its newest completed version) or a version.")],
    settings: dict[str, Any],
    checkpoint: Checkpoint = "last",
    split: Annotated[str, split_option("Split with the images to reconstruct: train, valid or test.")] = "test",
    n: Annotated[int, typer.Option("--n", help="Number of images in a grid.")] = 64,
    k: Annotated[
        int | None,
        typer.Option("--k", help="Posterior samples per image; the best one is shown.", show_default="the run's"),
    ] = None,
    latents: Annotated[
        int | None,
        typer.Option(
            help="Number of latents to traverse, the most active first.", show_default="10, or all if fewer"
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option(help="Values per traversed latent, from -3 to 3 standard deviations of the prior.")
    ] = 9,
    seed: Annotated[int, typer.Option(help="Random seed for the samples.")] = 0,
    scale: Annotated[
        int | None,
        typer.Option(
            help="Screen pixels per image pixel.",
            show_default=f"so that images are about {PICTURE_HEIGHT} pixels high or more",
        ),
    ] = None,
    model: RunModel = None,
    trust_code: TrustCode = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw prior samples, reconstructions and traversals of latents, as pictures kept in the run."""
    from dregcli.app.models.request import CodeRequest
    from dregcli.app.sampling.request import SampleRequest
    from dregcli.app.sampling.sample import sample_run

    asked = SampleRequest(
        run=run,
        checkpoint=checkpoint,
        split=split,
        n=n,
        k=k,
        latents=latents,
        steps=steps,
        seed=seed,
        scale=scale,
        code=CodeRequest(model, trust=trust_code),
        **settings,
    )
    with Terminal(as_json=as_json, quiet=quiet) as terminal:
        found = sample_run(
            asked, runs_dir=runs_folder(runs_dir), data_dir=data_folder_if_any(data_dir), listener=terminal
        )
    content = found.as_json()
    if as_json:
        terminal.result(content)
        return
    rows = [
        [each["kind"], f"{each['rows']} x {each['columns']}", "{} x {}".format(*each["pixels"]), each["file"]]
        for each in content["images"]
    ]
    title = f"{found.run.label}, checkpoint of step {found.checkpoint}"
    terminal.table(["picture", "images", "screen pixels", "file"], rows, title=title)
    for each in content["images"]:
        terminal.line(f"{each['kind']}: {each['what']}")
    if content["display"] != {"black": 0.0, "white": 1.0}:
        low, high = content["display"].values()
        between = "99 % of the training values lie between them"
        if found.look.is_guessed:
            between = "guessed from their means and standard deviations, as the data set is not on this machine"
        terminal.line(f"black is {low:.3g}, white is {high:.3g}; {between}")
    table = [
        [each["name"], f"{each['variance']:.3g}", "yes" if each["active"] else "no"] for each in content["latents"]
    ]
    title = f"traversed latents, by the variance of q's mean over {split} images"
    if table:
        terminal.table(["latent", "variance", "active"], table, title=title)
    for kind, why in content["left_out"].items():
        terminal.warn(f"{kind}: no picture, because {why}.")
