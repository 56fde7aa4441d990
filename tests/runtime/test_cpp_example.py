"""examples/cpp: built against an installed runtime, as a user's program would be, and run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import rapidocr_onnxruntime

import bireme as bm
from bireme.runtime import schema

sys.path.insert(0, str(Path(__file__).parent))
import artefacts

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="session")
def classify(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, linked with a runtime that was installed somewhere."""
    base = tmp_path_factory.mktemp("cpp")
    run("cmake", "-S", ROOT, "-B", base / "runtime", "-DBIREME_SHARED=OFF")
    run("cmake", "--build", base / "runtime")
    run("cmake", "--install", base / "runtime", "--prefix", base / "prefix")
    example = ROOT / "examples" / "cpp"
    run("cmake", "-S", example, "-B", base / "example", f"-DCMAKE_PREFIX_PATH={base / 'prefix'}")
    run("cmake", "--build", base / "example")
    return base / "example" / "classify"


def first_two_pixels() -> bytes:
    """X [N, 3, 48, 192] -> its first two values as scores [N, 2]."""
    b = artefacts.PlanBuilder()
    n = b.symbol("N", 1, 1)
    two = b.scalar(2)
    f32 = schema.DType.F32
    image = [n, *(b.scalar(s) for s in (3, 48, 192))]
    x = b.tensor("x", schema.Place.Input, f32, image, 4)
    part = b.tensor("part", schema.Place.View, f32, (n, two), 4)
    b.plan.tensors[part].base, b.plan.tensors[part].viewOffset = x, b.scalar(0)
    y = b.tensor("y", schema.Place.Output, f32, (n, two), 4)
    b.copy(part, y, b.source("slice", "Slice_0"))
    return b.finish()


def write_ppm(path: Path, rgb: np.ndarray) -> Path:
    height, width, _ = rgb.shape
    path.write_bytes(b"P6\n# made by a test\n%d %d\n255\n" % (width, height) + rgb.tobytes())
    return path


def output_of(program: Path, *arguments: Path) -> tuple[int, str, str]:
    result = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return result.returncode, result.stdout, result.stderr


def test_classifies_a_picture(classify: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.bireme"
    model.write_bytes(first_two_pixels())
    rgb = np.zeros((48, 192, 3), np.uint8)
    rgb[0, 0] = (9, 9, 51)  # channel 0 of the tensor is blue
    rgb[0, 1] = (9, 9, 204)
    status, out, err = output_of(classify, model, write_ppm(tmp_path / "p.ppm", rgb))
    assert (status, err) == (0, "")
    assert out.splitlines() == ["180 degrees  0.6000", "0 degrees    -0.6000"]


def test_agrees_with_onnx_runtime_on_the_demo_classifier(classify: Path, tmp_path: Path) -> None:
    package = Path(rapidocr_onnxruntime.__file__).parent
    onnx_model = package / "models" / "ch_ppocr_mobile_v2.0_cls_infer.onnx"
    artefact = tmp_path / "cls.bireme"
    bm.compile(onnx_model).save(artefact)
    rgb = np.random.default_rng(3).integers(0, 256, (48, 192, 3), np.uint8)
    x = (rgb[:, :, ::-1].transpose(2, 0, 1)[None] / np.float32(127.5) - 1).astype(np.float32)
    (scores,) = onnxruntime.InferenceSession(onnx_model).run(None, {"x": x})[0]
    status, out, err = output_of(classify, artefact, write_ppm(tmp_path / "p.ppm", rgb))
    assert (status, err) == (0, "")
    printed = {line[:12].strip(): float(line[12:]) for line in out.splitlines()}
    assert printed == pytest.approx({"0 degrees": scores[0], "180 degrees": scores[1]}, abs=1e-4)


def test_resizes(classify: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.bireme"
    model.write_bytes(first_two_pixels())
    rgb = np.full((96, 100, 3), 255, np.uint8)
    status, out, _ = output_of(classify, model, write_ppm(tmp_path / "p.ppm", rgb))
    assert status == 0
    assert out.splitlines() == ["0 degrees    1.0000", "180 degrees  1.0000"]


def test_says_what_is_wrong(classify: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.bireme"
    model.write_bytes(first_two_pixels())
    picture = write_ppm(tmp_path / "p.ppm", np.zeros((4, 4, 3), np.uint8))
    other = tmp_path / "other.bireme"
    other.write_bytes(artefacts.doubling())
    cut = tmp_path / "cut.ppm"
    cut.write_bytes(picture.read_bytes()[:-1])
    for arguments, words in (
        ((tmp_path / "none.bireme", picture), "BM4001"),
        ((picture, picture), "BM4002"),
        ((other, picture), "one float32 input"),
        ((model, tmp_path / "none.ppm"), "cannot be opened"),
        ((model, model), "not a binary PPM"),
        ((model, cut), "ends before its last pixel"),
    ):
        status, out, err = output_of(classify, *arguments)
        assert (status, out) == (1, "")
        assert words in err
    assert output_of(classify)[0] == 2
