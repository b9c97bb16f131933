"""The three files of a part of a batch, written as streams: answers, errors, the lines that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.jobs.batches.files import ERRORS, LINES_TYPE, OUTPUT, REFUSED, file_key
from shared.results.batches import Part

if TYPE_CHECKING:
    from shared.jobs.batches.engine import Written
    from shared.results.batches import BatchKey
    from shared.results.objects import ObjectStore, ObjectWriter


class PartFiles:
    """The files of the part at `prefix`."""

    def __init__(self, objects: ObjectStore, key: BatchKey, prefix: str) -> None:
        self._prefix = prefix
        self._writers: dict[str, ObjectWriter] = {
            name: objects.writer(file_key(key, f"{prefix}/{name}"), content_type=LINES_TYPE)
            for name in (OUTPUT, ERRORS, REFUSED)
        }
        self._succeeded = self._failed = self._blank = 0

    def add(self, written: Written) -> None:
        """The lines of a block."""
        lines = {OUTPUT: written.output, ERRORS: written.errors, REFUSED: written.refused}
        for name, found in lines.items():
            if found:
                self._writers[name].write(b"".join(found))
        self._succeeded += written.succeeded
        self._failed += len(written.errors)
        self._blank += written.blank

    def close(self) -> Part:
        """Finish the files; nothing is visible of them before the part is published."""
        sizes = {name: writer.close() for name, writer in self._writers.items()}
        return Part(
            prefix=self._prefix,
            output_bytes=sizes[OUTPUT],
            errors_bytes=sizes[ERRORS],
            refused_bytes=sizes[REFUSED],
            succeeded=self._succeeded,
            failed=self._failed,
            blank=self._blank,
        )

    def abort(self) -> None:
        """Forget the files."""
        for writer in self._writers.values():
            writer.abort()
