"""LiteRT with its default delegate, XNNPACK; converted by LiteRT Torch."""

from __future__ import annotations

from pathlib import Path

from benchmarks.engines import Feed, Run


def convert(folder: Path, precision: str) -> None:
    import litert_torch

    from benchmarks.engines.onnx_torch import load_module

    module, inputs = load_module(folder)
    litert_torch.convert(module, inputs).export(str(folder / "model.tflite"))


def load(folder: Path, threads: int, precision: str) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / "model.tflite"), num_threads=threads)
    interpreter.allocate_tensors()
    places = sorted(interpreter.get_input_details(), key=lambda d: str(d["name"]))
    results = interpreter.get_output_details()

    def run(feed: Feed) -> list[object]:
        for place, array in zip(places, feed.values(), strict=True):
            # The converter makes 32-bit integers of wider ones.
            interpreter.set_tensor(place["index"], array.astype(place["dtype"], copy=False))
        interpreter.invoke()
        return [interpreter.get_tensor(result["index"]) for result in results]

    return run
