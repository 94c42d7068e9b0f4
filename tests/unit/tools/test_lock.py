"""The lock maker: how a requirements file is taken apart."""

from __future__ import annotations

from tools.lock import split_blocks


def test_blocks_keep_markers_and_hashes_and_drop_comments() -> None:
    text = "# made by\na-b==1 ; x == 'y' \\\n    --hash=1 \\\n    --hash=2\n    # via c\n\nc==2 \\\n    --hash=3\n"
    assert split_blocks(text) == {
        "a-b": "a-b==1 ; x == 'y' \\\n    --hash=1 \\\n    --hash=2\n",
        "c": "c==2 \\\n    --hash=3\n",
    }
