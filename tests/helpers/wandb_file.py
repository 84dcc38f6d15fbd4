"""Reads what W&B has written for `wandb sync`: no module of the package does so since version 0.29."""

import json
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

HEADER, BLOCK, PREFIX = 7, 2**15, 7
FULL, FIRST, MIDDLE, LAST = range(1, 5)


def records(path: Path) -> list[Record]:
    """Every record of a file, whose format is that of LevelDB's log.

    Blocks of 32 KiB hold chunks with a prefix of 7 bytes: a checksum (4), the length (2) and whether the
    chunk is a full record or its first, middle or last part (1).
    """
    content = path.read_bytes()
    place, record, found = HEADER, b"", []
    while place < len(content):
        if BLOCK - place % BLOCK < PREFIX:  # this rest of a block is padding
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        record += content[place + PREFIX :][:length]
        place += PREFIX + length
        if kind in (FULL, LAST):
            found.append(Record.FromString(record))
            record = b""
    return found


def contents(folder: Path) -> dict[str, Any]:
    """What W&B would show of the one run in a run folder: its id, group, configuration, summary and so on."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    return contents_of(path)


def contents_of(path: Path) -> dict[str, Any]:
    """The same of a file; "exit_code" is missing if the run was not closed."""
    shown: dict[str, Any] = {"config": {}, "summary": {}, "history": []}
    for record in records(path):
        match record.WhichOneof("record_type"):
            case "run":
                run = record.run
                shown |= {"id": run.run_id, "project": run.project, "name": run.display_name}
                shown |= {"group": run.run_group, "tags": list(run.tags)}
                shown["config"] |= _values(run.config.update)
            case "config":
                shown["config"] |= _values(record.config.update)
            case "summary":
                shown["summary"] |= _values(record.summary.update)
            case "history":
                shown["history"].append(_values(record.history.item))
            case "exit":
                shown["exit_code"] = record.exit.exit_code
    return shown


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
