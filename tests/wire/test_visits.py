"""A translation that is taken up elsewhere between two reads tells the client the same as one that stays."""

from __future__ import annotations

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.spoken import SPOKEN, Asked
from burncloud.adaptors.translation import Translation, visit
from tests.wire.cases import APIS, cases
from tests.wire.recordings import ABSENT, index

pytestmark = pytest.mark.skipif(not index(), reason=ABSENT)

UPSTREAMS = ("chat", "completions", "messages", "responses", "gemini", "converse")
PIECES = 5


def translation_of(client: str, upstream: str) -> Translation:
    """For a client that asked for a stream and its usage."""
    request = canon.Request("m", [], stream=True, include_usage=True, dialect=client)
    return Translation(SPOKEN[client], SPOKEN[upstream], Asked(request, "public"), canon.Losses())


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_the_same_as_one_that_stays(upstream: str) -> None:
    """Each second part of a recorded stream is turned over elsewhere, wherever it is cut."""
    count = 0
    for case in cases(*APIS[upstream]):
        if case.status != 200 or case.row["framing"] not in ("sse", "aws-eventstream") or len(case.content) > 200_000:
            continue
        step = max(1, len(case.content) // PIECES)
        pieces = [case.content[at : at + step] for at in range(0, len(case.content), step)]
        for client in canon.INBOUND:
            stays, leaves = translation_of(client, upstream), translation_of(client, upstream)
            for number, piece in enumerate(pieces):
                want = stays.strip(piece)
                if number % 2:
                    got, visited = visit(leaves.away(), piece)
                    leaves.back(visited)
                else:
                    got = leaves.strip(piece)
                assert got == want, (case.name, client)
            assert leaves.finish() == stays.finish(), (case.name, client)
            assert leaves.losses.names() == stays.losses.names(), (case.name, client)
            assert (leaves.ended, leaves.content) == (stays.ended, stays.content), (case.name, client)
            count += 1
    assert count > 10
