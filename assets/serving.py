"""The command that serves the generation in force on this machine."""

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from registry.serving.demo import Told
    from registry.serving.fleet import Plan, Served

out = Console(highlight=False)
_CURL = """\
curl -i {proxy}/chat/completions -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
  -d '{{"model": "{task}", "messages": [{{"role": "user", "content": "…"}}]}}'"""


def add_to(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command()(serve)


def serve(
    demo: Annotated[
        bool, typer.Option("--demo", help="Ask some questions and show their ways; a base model stands in.")
    ] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the proxy, on this machine alone.")] = 4000,
    litellm: Annotated[
        Path | None, typer.Option(envvar="LITELLM", help="LiteLLM's executable; default: that of `make litellm`.")
    ] = None,
) -> None:
    """Serve the generation in force: specialists as they were evaluated, behind LiteLLM's proxy with our router."""
    from assets.project import Project
    from registry.serving.demo import tour
    from registry.serving.fleet import LITELLM, plan_of, serving

    project = Project.here()
    plan = plan_of(project.settings, project.store, litellm or LITELLM, port, demo)
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs ignore the first one
            signal.signal(number, signal.default_int_handler)
    try:
        out.print(f"loading {len(plan.specialists)} models and the proxy; this takes a minute or more", soft_wrap=True)
        with serving(plan) as served:
            _show(plan, served)
            for told in tour(served, plan.manifest, project.store) if demo else ():
                _show_way(told)
            out.print("\nserving; stop with Ctrl-C")
            served.children.watch()
    except KeyboardInterrupt:
        out.print("stopped")


def _show(plan: "Plan", served: "Served") -> None:
    out.print(f"generation {plan.manifest.generation} of fleet {escape(plan.manifest.fleet)}")
    for model in plan.manifest.models:
        out.print(f"  {model.name}: {model.artifact.format}, {served.specialists}", soft_wrap=True)
    last = plan.manifest.fallback.name
    if plan.stand_in:
        out.print(f"  {last}: a base model stands in, untrained for any of this", soft_wrap=True)
    out.print(f"  proxy: {served.proxy}, routes {', '.join(r.task for r in plan.manifest.routes)}", soft_wrap=True)
    task = plan.manifest.routes[0].task
    out.print(_CURL.format(proxy=served.proxy, key=served.key, task=task), soft_wrap=True, markup=False)


def _show_way(told: "Told") -> None:
    shown = " ".join(told.text.split())
    out.print(f"\n{told.asked}: {shown[:100]}{'…' if len(shown) > 100 else ''}", soft_wrap=True, markup=False)
    out.print(f"  {told.status} {' '.join(told.answer.split())[:200]}", soft_wrap=True, markup=False)
    for name, value in sorted(told.way.items()):
        out.print(f"  x-supply-chain-{name}: {value}", soft_wrap=True, markup=False)
