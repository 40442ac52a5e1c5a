"""Files that are replaced whole, folders of files that change all at once, and logs that only grow."""

from nudge_integrations.storage.atomic import (
    exchange,
    is_part,
    make_folder,
    move_durably,
    replacing,
    sync_folder,
    write_atomically,
    write_durably,
)
from nudge_integrations.storage.claim import claimed, this_process
from nudge_integrations.storage.log import Log, LogContent
from nudge_integrations.storage.manifest import Buffer, load_files, only_writer, save_files
from nudge_integrations.storage.reading import open_regular, read_regular

__all__ = [
    "Buffer",
    "Log",
    "LogContent",
    "claimed",
    "exchange",
    "is_part",
    "load_files",
    "make_folder",
    "move_durably",
    "only_writer",
    "open_regular",
    "read_regular",
    "replacing",
    "save_files",
    "sync_folder",
    "this_process",
    "write_atomically",
    "write_durably",
]
