"""Files that are replaced in one step: readers see the old bytes or the new ones."""

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, text: bytes) -> None:
    """Write the bytes beside the path, make them durable, then move them onto it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".writing-", delete=False) as draft:
        draft.write(text)
        draft.flush()
        os.fsync(draft.fileno())
    Path(draft.name).replace(path)
