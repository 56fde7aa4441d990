"""Paddle Inference with oneDNN."""

from __future__ import annotations

from pathlib import Path

from benchmarks.engines import Feed, Run


def convert(folder: Path, precision: str) -> None:
    import numpy as np
    import onnx
    import paddle

    from benchmarks.engines.onnx_paddle import OnnxLayer

    layer = OnnxLayer(onnx.load(folder / "model.onnx"))
    layer.eval()
    with np.load(folder / "feed.npz") as feed:
        specs = [
            paddle.static.InputSpec(feed[name].shape, str(feed[name].dtype), name)
            for name in layer.calls.arguments
        ]
    paddle.jit.save(layer, str(folder / "paddle"), input_spec=[specs])


def load(folder: Path, threads: int, precision: str) -> Run:
    from paddle import inference

    model = folder / "paddle"
    config = inference.Config(f"{model}.json", f"{model}.pdiparams")
    config.disable_gpu()
    config.enable_mkldnn()
    config.set_cpu_math_library_num_threads(threads)
    config.disable_glog_info()
    predictor = inference.create_predictor(config)
    places = {name: predictor.get_input_handle(name) for name in predictor.get_input_names()}
    results = [predictor.get_output_handle(name) for name in predictor.get_output_names()]

    def run(feed: Feed) -> list[object]:
        for name, place in places.items():
            place.copy_from_cpu(feed[name])
        predictor.run()
        return [result.copy_to_cpu() for result in results]

    return run
