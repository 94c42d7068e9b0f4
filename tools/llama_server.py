"""A real inference server for the end-to-end tests: builds llama-server once and makes a tiny random model.

    python3 tools/llama_server.py [--jobs 2]      builds both into the cache, about 6 minutes
    python3 tools/llama_server.py --where         prints where they are; exit code 1 if they are not there

The cache is ~/.cache/burncloud, or the folder in BURNCLOUD_CACHE; BURNCLOUD_LLAMA_SERVER names a ready
binary instead.  Needs a C++ compiler and make's friends cmake and ninja, which come as wheels into a scratch
environment.  The source is the sdist of llama-cpp-python, which holds llama.cpp; nothing else is downloaded.
Standard library only.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import venv
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SOURCE: Final = "llama-cpp-python==0.3.36"
BUILD_TOOLS: Final = ("cmake>=3.28,<5", "ninja>=1.11")
CMAKE_FLAGS: Final = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",  # ON by default, and then it downloads
    "-DBUILD_SHARED_LIBS=OFF",
    "-DGGML_OPENMP=OFF",
)
WINDOWS: Final = os.name == "nt"


def cache_dir() -> Path:
    """Where built things are kept between runs."""
    return Path(os.environ.get("BURNCLOUD_CACHE") or Path.home() / ".cache" / "burncloud")


def server_path() -> Path:
    """The binary: the one named by BURNCLOUD_LLAMA_SERVER, else the one in the cache."""
    named = os.environ.get("BURNCLOUD_LLAMA_SERVER")
    return Path(named) if named else cache_dir() / server_name()


def model_path() -> Path:
    """The tiny model; made on the first call (0.2 s)."""
    path = cache_dir() / "tiny.gguf"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}")
        scratch.write_bytes(tiny_model())
        scratch.replace(path)
    return path


def find() -> tuple[Path, Path] | None:
    """(binary, model), or None where the binary was not built: a test then skips and names this tool."""
    server = server_path()
    return (server, model_path()) if server.is_file() else None


# -- the model -------------------------------------------------------------------------------------------------

EMBEDDING, FEED_FORWARD, LAYERS, HEADS, KV_HEADS = 64, 128, 2, 4, 2
HEAD_SIZE = EMBEDDING // HEADS
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{m['role']}}\n{{m['content']}}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MERGED_WORDS = ("hello", "world", "the", "ing", " the", " fox", "data", "token")
SPECIAL_TOKENS = ("<s>", "<|im_start|>", "<|im_end|>")
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
"""GGUF value types (ggml/docs/gguf.md)."""
TOKEN_NORMAL, TOKEN_CONTROL = 1, 3
ALIGNMENT = 32


def byte_alphabet() -> dict[int, str]:
    """GPT-2's spelling of each byte as one printable character."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    odd = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + n) for n, byte in enumerate(odd)}


def vocabulary() -> tuple[list[str], list[str]]:
    """Byte-level tokens and the merges that build a few words out of them."""
    alphabet = byte_alphabet()
    tokens, merges = [alphabet[byte] for byte in range(256)], []
    for word in MERGED_WORDS:
        parts = [alphabet[byte] for byte in word.encode()]
        while len(parts) > 1:
            pair = parts[0] + parts[1]
            if pair not in tokens:
                tokens.append(pair)
                merges.append(f"{parts[0]} {parts[1]}")
            parts = [pair, *parts[2:]]
    return tokens, merges


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(kind: int, value: object) -> bytes:
    if kind == STRING:
        return _string(str(value))
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def _field(key: str, kind: int, value: object) -> bytes:
    return _string(key) + struct.pack("<I", kind) + _value(kind, value)


def _list(key: str, kind: int, values: Iterable[object]) -> bytes:
    items = [_value(kind, value) for value in values]
    return _string(key) + struct.pack("<IIQ", ARRAY, kind, len(items)) + b"".join(items)


def _metadata() -> list[bytes]:
    tokens, merges = vocabulary()
    types = [TOKEN_NORMAL] * len(tokens) + [TOKEN_CONTROL] * len(SPECIAL_TOKENS)
    tokens += SPECIAL_TOKENS
    return [
        _field("general.architecture", STRING, "llama"),
        _field("llama.context_length", U32, 32768),
        _field("llama.embedding_length", U32, EMBEDDING),
        _field("llama.block_count", U32, LAYERS),
        _field("llama.feed_forward_length", U32, FEED_FORWARD),
        _field("llama.attention.head_count", U32, HEADS),
        _field("llama.attention.head_count_kv", U32, KV_HEADS),
        _field("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        _field("llama.rope.dimension_count", U32, HEAD_SIZE),
        _field("tokenizer.ggml.model", STRING, "gpt2"),
        _field("tokenizer.ggml.pre", STRING, "gpt-2"),
        _list("tokenizer.ggml.tokens", STRING, tokens),
        _list("tokenizer.ggml.token_type", I32, types),
        _list("tokenizer.ggml.merges", STRING, merges),
        _field("tokenizer.ggml.bos_token_id", U32, len(tokens) - 3),
        _field("tokenizer.ggml.eos_token_id", U32, len(tokens) - 1),
        _field("tokenizer.ggml.add_bos_token", BOOL, False),
        _field("tokenizer.chat_template", STRING, CHAT_TEMPLATE),
    ]


def _tensor_shapes(vocabulary_size: int) -> list[tuple[str, tuple[int, ...], float]]:
    """(name, shape with the innermost dimension first, spread of its random numbers; 0 = all ones)."""
    shapes: list[tuple[str, tuple[int, ...], float]] = [
        ("token_embd.weight", (EMBEDDING, vocabulary_size), 1.0),
        ("output.weight", (EMBEDDING, vocabulary_size), 0.4),
        ("output_norm.weight", (EMBEDDING,), 0),
    ]
    for layer in range(LAYERS):
        for name, shape in (
            ("attn_q", (EMBEDDING, EMBEDDING)),
            ("attn_k", (EMBEDDING, KV_HEADS * HEAD_SIZE)),
            ("attn_v", (EMBEDDING, KV_HEADS * HEAD_SIZE)),
            ("attn_output", (EMBEDDING, EMBEDDING)),
            ("ffn_gate", (EMBEDDING, FEED_FORWARD)),
            ("ffn_up", (EMBEDDING, FEED_FORWARD)),
            ("ffn_down", (FEED_FORWARD, EMBEDDING)),
        ):
            shapes.append((f"blk.{layer}.{name}.weight", shape, 0.08))
        shapes.extend((f"blk.{layer}.{name}.weight", (EMBEDDING,), 0) for name in ("attn_norm", "ffn_norm"))
    return shapes


def tiny_model() -> bytes:
    """A GGUF file (version 3) of a Llama with random weights, the same bytes each time; ~450 KB."""
    metadata = _metadata()
    shapes = _tensor_shapes(len(vocabulary()[0]) + len(SPECIAL_TOKENS))
    dice = random.Random(0)
    infos, data = [], bytearray()
    for name, shape, spread in shapes:
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        weights = array("f", (dice.gauss(0, spread) if spread else 1.0 for _ in range(count)))
        if sys.byteorder == "big":
            weights.byteswap()
        infos.append(_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(data)))
        data += weights.tobytes()
        data += bytes(-len(data) % ALIGNMENT)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(metadata)) + b"".join(metadata) + b"".join(infos)
    return head + bytes(-len(head) % ALIGNMENT) + bytes(data)


# -- the server ------------------------------------------------------------------------------------------------


def build(jobs: int) -> None:
    """Download the source, build llama-server with `jobs` compilers at once, put it into the cache."""
    with tempfile.TemporaryDirectory(prefix="llama-server-") as folder:
        scratch = Path(folder)
        venv.EnvBuilder(with_pip=True).create(scratch / "venv")
        binaries = scratch / "venv" / ("Scripts" if WINDOWS else "bin")

        def run(*command: str | Path) -> None:
            print("+", *command, flush=True)
            path = os.pathsep.join((str(binaries), os.environ.get("PATH", "")))
            subprocess.run([str(word) for word in command], cwd=scratch, env={**os.environ, "PATH": path}, check=True)

        pip = (binaries / "python", "-m", "pip", "--disable-pip-version-check", "-q")
        run(*pip, "install", *BUILD_TOOLS)
        name = SOURCE.split("==")[0]
        run(*pip, "download", "--no-deps", "--no-binary", name, SOURCE)
        with tarfile.open(next(scratch.glob("*.tar.gz"))) as archive:
            if hasattr(tarfile, "data_filter"):  # since Python 3.11.4; Debian 12 has 3.11.2
                archive.extraction_filter = tarfile.data_filter
            archive.extractall(scratch / "source")
        llama = next((scratch / "source").glob("*/vendor/llama.cpp"))
        run("cmake", "-S", llama, "-B", scratch / "build", "-G", "Ninja", *CMAKE_FLAGS)
        run("cmake", "--build", scratch / "build", "-j", str(jobs), "--target", "llama-server")
        built = next(path for path in (scratch / "build").rglob(server_name()) if path.is_file())
        if shutil.which("strip"):
            run("strip", built)
        target = cache_dir() / server_name()
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(built, f"{target}.new")
        os.replace(f"{target}.new", target)


def server_name() -> str:
    """The binary's file name."""
    return "llama-server.exe" if WINDOWS else "llama-server"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build llama-server and a tiny random model into the cache.")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers at once")
    parser.add_argument("--where", action="store_true", help="only print where binary and model are")
    arguments = parser.parse_args()
    if not arguments.where and not server_path().is_file():
        build(arguments.jobs)
    found = find()
    print(f"server {found[0]}\nmodel  {found[1]}" if found else f"no llama-server at {server_path()}")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
