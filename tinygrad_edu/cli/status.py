"""How the command ends: exit statuses, and errors in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it."""


def exit_status(action: Callable[[], int | None]) -> int:
    """Runs the action and returns the exit status; errors that users can mend are printed without a traceback."""
    try:
        status = int(action() or 0)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        let_go_of_a_broken_output()
        print(f"tinygrad-edu: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tinygrad-edu: interrupted", file=sys.stderr)
        return INTERRUPTED


def let_go_of_a_broken_output() -> None:
    """What a closed pipe or a full disk did not take would fail once more when the program ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        sys.stdout = None
