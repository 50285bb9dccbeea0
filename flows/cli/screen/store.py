"""What the commands about a store's states show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from meldflow.flows.cli.screen.terminal import out

if TYPE_CHECKING:
    from meldflow.storage.format.catalogue import CatalogueChange
    from meldflow.storage.history import Maintained, State
    from meldflow.storage.reading.difference import Diff
    from meldflow.storage.reading.plan import Plan

FEW = 10
"""Utterances that a terminal lists of a kind."""


def plan_json(store: str, change: CatalogueChange, plan: Plan) -> dict[str, Any]:
    """The same as ``show_plan``, for programs."""
    return {
        "store": store,
        "catalogue": change,
        "utterances": plan.n_utterances,
        "partitions": len(plan.partitions),
        "extractors": plan.why,
    }


def show_plan(store: str, change: CatalogueChange, plan: Plan) -> None:
    """Utterances by extractor and by the reason why they would be extracted."""
    out.print(f"catalogue: {change}")
    if not plan.why:
        out.print(f"nothing to extract: {escape(store)} is up to date")
        return
    reasons = list(dict.fromkeys(why for counts in plan.why.values() for why in counts))
    table = Table("extractor", title=f"what a run on {escape(store)} would extract")
    for name in (*reasons, "in all"):
        table.add_column(name, justify="right")
    for extractor, counts in plan.why.items():
        numbers = (*(counts.get(why, 0) for why in reasons), sum(counts.values()))
        table.add_row(extractor, *(f"{number:,}" for number in numbers))
    out.print(table)
    out.print(f"{plan.n_utterances:,} utterances in {len(plan.partitions):,} partitions")


def show_log(states: Sequence[State]) -> None:
    """States, the newest first; those of unpublished runs in another colour."""
    for one in states:
        named = f" [yellow]({escape(', '.join(one.tags))})[/]" if one.tags else ""
        out.print(f"[bold]{one.snapshot}[/]{named}  {one.time}  {one.run}")
        out.print(f"    {escape(one.summary)}", style=None if one.published else "yellow")


def show_diff(found: Diff) -> None:
    """Utterances and extractors that differ."""
    out.print(f"[bold]{found.before}[/] → [bold]{found.after}[/]")
    changed = (f"{name} ({', '.join(columns)})" for name, columns in found.changed.items())
    _names("new utterances", found.added)
    _names("removed utterances", found.removed)
    _names("changed utterances", changed)
    for extractor, one in found.extractors.items():
        out.print(f"[bold]{extractor}[/]")
        if one.key_before != one.key_after:
            before, after = one.key_before or "not there", one.key_after or "not there"
            out.print(f"  key {before} → {after}")
        _names("  new results", one.added)
        _names("  other results", one.changed)
        _names("  results gone", one.removed)
    if not (found.added or found.removed or found.changed or found.extractors):
        out.print("no difference")


def show_tags(tags: Mapping[str, str]) -> None:
    """Names of states."""
    for name, snapshot in tags.items():
        out.print(f"{escape(name)}  {snapshot}")
    if not tags:
        out.print("no tags")


def show_rollback(done: Mapping[str, Any]) -> None:
    """What is current now, and how to get back."""
    out.print(f"current now: {done['snapshot']}")
    out.print(f"what was current is kept as {done['rescued']}")
    for one in done["unpublished"]:
        out.print(f"kept as well, to go on with once that is current again: {one.run}")


def show_unused(found: Maintained) -> None:
    """What would be freed."""
    what = f"{found.objects:,} objects, {decimal(found.bytes)}, would be deleted"
    out.print(f"{what}; states that would be forgotten first are not counted")


def show_maintenance(done: Maintained) -> None:
    """What was forgotten and freed."""
    out.print(
        f"{done.expired:,} snapshots forgotten, {done.objects:,} objects deleted, "
        f"{decimal(done.bytes)} freed"
    )


def _names(title: str, names: Iterable[str]) -> None:
    listed = list(names)
    if not listed:
        return
    shown = ", ".join(listed[:FEW])
    more = f" and {len(listed) - FEW:,} more" if len(listed) > FEW else ""
    out.print(f"{title}: {len(listed):,}: {escape(shown)}{more}")


def show_declared(
    snapshot: str, held: Mapping[str, Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]]
) -> None:
    """The extractors of a store as a file, with the options that have to stand beside it."""
    from meldflow.tasks.options.declared import as_file

    shown = ("backend", "precision", "decoder", "candidates", "max_seconds")
    parameters = [pair for one in held.values() for pair in one["parameters"].items()]
    flags = {f"--{name.replace('_', '-')} {value}" for name, value in parameters if name in shown}
    flags |= {"--strict"} if ("strict", True) in parameters else set()
    beside = f"; extract with {' '.join(sorted(flags))}" if flags else ""
    out.print(f"# snapshot {snapshot}{beside}", soft_wrap=True)
    out.print(as_file(found), markup=False, soft_wrap=True, end="")
