"""What the page Batch shows of the files and of the run: plain data for its parts."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from lisa_micro_app.limits import MIB, Limits

if TYPE_CHECKING:
    from lisa_micro_app.state.batch_run import BatchPending
    from lisa_micro_app.state.session import Session

_SHOWN = 12


def files_view(session: Session, limits: Limits, notice: str = "") -> dict[str, Any]:
    """The files, for the part ``batch``."""
    state = session.batch
    groups = Counter(str(PurePosixPath(name).parent) for name in state.files)
    folders = [f"{name}: {count}" for name, count in sorted(groups.items()) if name != "."]
    return {
        "upload": {"url": f"/lisa/upload/{session.token}", "mib": limits.upload_mib},
        "count": len(state.files),
        "size": f"{state.bytes / MIB:.1f} MiB",
        "names": state.files[:_SHOWN],
        "more": max(0, len(state.files) - _SHOWN),
        "folders": folders[:_SHOWN],
        "busy": state.busy,
        "notice": notice,
        "limits": f"at most {limits.batch_images} images and {limits.batch_mib} MiB together",
    }


def run_view(session: Session, pending: BatchPending | None = None, notice: str = "") -> dict[str, Any]:
    """The run, for the part ``batchrun``: progress, summary, or what went wrong."""
    state = session.batch
    if pending is not None:
        left = f", about {pending.left} left" if pending.left else ""
        words = pending.status if pending.loading or pending.place else f"{pending.stage or 'Starting'}{left}"
        return {"text": words, "share": pending.done / pending.total if pending.total else 0, "bad": False, "notes": []}
    if notice:
        return {"text": notice, "share": None, "bad": True, "notes": []}
    result = state.result
    if result is None:
        stopped = f"Stopped after {len(state.rows)} images; “Run” goes on." if state.rows else ""
        return {"text": stopped, "share": None, "bad": False, "notes": []}
    counts = result.counts
    failed = f", {counts.failed} failed" if counts.failed else ""
    text = f"{counts.done} images with {counts.instances} instances{failed}, {result.seconds:.0f} s."
    return {"text": text, "share": None, "bad": False, "notes": list(result.notes)}
