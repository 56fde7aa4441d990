"""The file that lets a run go on where it was killed."""

from __future__ import annotations

import pytest

from bireme.codegen.tune.journal import Batch, Dropped, Journal, Trial
from bireme.ir import BiremeError

BATCHES = [
    Batch(3, (Trial(3, {"rows": 2}, "ok", 0.9), Trial(3, {"rows": 3}, "wrong", 1.0, "two\nlines")),
          {"rows": 2}, 0.9, False, 1.5),
    Batch(4, (), {}, 1.0, True, 2.5),
    Batch(3, (Trial(3, {"rows": 4}, "failed", 1.0, "ü"),), {"rows": 2}, 0.9, True, 3.25),
    Dropped(3, {"rows": 2}),
]  # fmt: skip


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "journal", "one")
    made.start([])
    for batch in BATCHES:
        made.add(batch)
    return made


def test_what_was_written_is_read_and_goes_on(journal):
    assert journal.read() == BATCHES
    journal.start(journal.read())
    journal.add(BATCHES[1])
    assert journal.read() == [*BATCHES, BATCHES[1]]
    journal.remove()
    assert journal.read() == []


def test_wherever_the_file_ends_whole_events_are_read(journal, tmp_path):
    path = tmp_path / "journal"
    data = path.read_bytes()
    counts = set()
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        found = journal.read()
        assert found == BATCHES[: len(found)]
        counts.add(len(found))
    assert counts == {0, 1, 2, 3, 4}


def test_another_run_starts_anew(journal, tmp_path):
    assert Journal(tmp_path / "journal", "another").read() == []


@pytest.mark.parametrize(
    "line", ["[]", "{}", '{"kernel": 1}', '{"parameters": {}}', '{"trials": 3}', "{"]
)
def test_what_is_no_batch_ends_the_journal(journal, tmp_path, line):
    path = tmp_path / "journal"
    head, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, first, line, *rest, ""]))
    assert journal.read() == BATCHES[:1]


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path):
    with pytest.raises(BiremeError) as caught:
        Journal(tmp_path / "none" / "journal", "one").start([])
    assert caught.value.code == "BM3006"
