"""OpenAI's legacy Completions as an upstream: a conversation told as one text, and the text that goes on with it.

request.py    what is asked, both ways
prompt.py     a conversation as a prompt
answer.py     plain answers and log probabilities, both ways
stream.py     chunks, both ways
"""
