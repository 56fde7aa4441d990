"""OpenVINO, CPU plugin; bfloat16 is its default where the CPU has it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.engines import Feed, Run

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def convert(folder: Path, precision: str) -> None:
    import openvino

    model = openvino.convert_model(folder / "model.onnx")
    openvino.save_model(model, folder / "openvino.xml", compress_to_fp16=False)


def load(folder: Path, threads: int, precision: str) -> Run:
    import openvino

    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
    }
    compiled = openvino.Core().compile_model(folder / "openvino.xml", "CPU", options)
    request = compiled.create_infer_request()

    def run(feed: Feed) -> list[object]:
        found = request.infer(feed, share_inputs=True, share_outputs=True)
        return [found[output] for output in compiled.outputs]

    return run
