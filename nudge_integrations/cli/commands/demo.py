"""``nudge demo``."""

from __future__ import annotations

from nudge_integrations.cli.options import (
    ConfigOption,
    DebugOption,
    DryRunOption,
    ForceOption,
    JsonOption,
    OptionalKeepOption,
    SeedOption,
)
from nudge_integrations.cli.screen import console_for, print_json

__all__ = ["EXAMPLES", "demo"]

EXAMPLES = (
    "nudge demo",
    "nudge demo --output shown    # and then: nudge report shown --output report.html",
    "nudge demo --json | jq .after",
)


def demo(
    output: OptionalKeepOption = None,
    seed: SeedOption = 0,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """See the point in under two minutes: 199 tools, 3,000 labelled requests, before and after.

    Embeds a piece of MetaTool with all-MiniLM-L6-v2, fits on 2,400 requests, and ranks the tools for 600 others.
    Then a LlamaIndex and a LangChain retriever, made from the same nudge, rank them too.
    """
    from nudge_integrations.cli.demo import demo_splits, run_demo
    from nudge_integrations.cli.tables import edge_check_lines, splits_line, summary, would_write
    from nudge_integrations.evaluation import RunFolder

    console = console_for(as_json)
    if output is not None:
        RunFolder.check_target(output, overwrite=force)
    splits = demo_splits()
    console.print(splits_line(splits))
    if dry_run:
        return would_write(console, [output] if output else [], as_json)
    measured, check = run_demo(splits, seed, console)
    result = {**measured.result(), "retrievers_agree": check.agree}
    console.print(summary(measured))
    console.print(edge_check_lines(check))
    if output is not None:
        measured.run_folder(splits, result).save(output)
        console.print(f"Kept in {output}: the nudge, and these figures in result.json.", markup=False)
    if as_json:
        print_json(result)
    return None
