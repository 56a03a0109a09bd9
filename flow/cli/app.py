from __future__ import annotations

from typing import Annotated

import typer

from flow.cli.agent import agent
from flow.cli.bench import bench
from flow.cli.cloud import cloud
from flow.cli.demo import demo
from flow.cli.devices import devices
from flow.cli.download import download
from flow.cli.explain import explain
from flow.cli.fleet import fleet
from flow.cli.inspect import inspect
from flow.cli.ops import ops
from flow.cli.pack import pack
from flow.cli.plan import plan
from flow.cli.prepare import prepare
from flow.cli.quantize import quantize
from flow.cli.query import query
from flow.cli.reload import reload
from flow.cli.reset import reset
from flow.cli.rollout import rollout
from flow.cli.run import run
from flow.cli.schema import schema
from flow.cli.trust import trust
from flow.cli.validate import validate

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def version(asked: bool) -> None:
    """Prints the installed version and ends."""
    if asked:
        from importlib.metadata import version

        print(f"ace {version('ace-engine')}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Show the version and exit.", callback=version, is_eager=True)]


@app.callback()
def main(version: Version = False) -> None:
    """Runs algorithm businesses, declared in manifests, on video streams."""


on_a_device = (demo, run, validate, schema, plan, explain, prepare, ops, devices, quantize, pack, inspect)
for command in (*on_a_device, agent, cloud, query, download, reload, reset):
    app.command()(command)
app.add_typer(bench, name="bench")
app.add_typer(rollout, name="rollout")
app.add_typer(fleet, name="fleet")
app.add_typer(trust, name="trust")
