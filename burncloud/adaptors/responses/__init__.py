"""OpenAI Responses, read into the canonical form and written from it.

What came from Responses itself is written back as it was.  For a client of Responses, answers of other dialects are
told in OpenAI's own order of events, with item ids made of the answer's id; foreign signatures of thinking travel in
reasoning items and come back (decision 0050).

    request.py    what a client asks, both ways
    turns.py      the items of `input` as turns, both ways
    parts.py      parts of a message, both ways
    reasoning.py  reasoning items and what they carry, both ways
    tools.py      tools, namespaces, the choice among them
    response.py   the response object around the output: what it repeats of the request, status, usage
    answer.py     plain answers, failures, both ways
    stream.py     events, both ways
    making.py     the output as it is told, item by item
    sequence.py   what a stream's events say, as blocks one after the other
    frames.py     the bytes of events
"""
