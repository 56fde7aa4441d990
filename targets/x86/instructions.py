"""Instructions that neither TVM nor plain LLVM arithmetic gives: each as a function in LLVM's text.

TVM's code generator has no bfloat16, so vectors of it pass through these functions as integers of
the same bits. They are inlined; nothing of them is left in object code.
"""

from __future__ import annotations

# Sixteen sums, each plus the products of two pairs of neighbours (VDPBF16PS).
_DOT = """
declare <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(<16 x float>, <32 x bfloat>, <32 x bfloat>)
define <16 x float> @bireme_dot_bf16(<16 x float> %sum, <16 x i32> %a, <16 x i32> %b) {
  %x = bitcast <16 x i32> %a to <32 x bfloat>
  %y = bitcast <16 x i32> %b to <32 x bfloat>
  %total = call <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(
      <16 x float> %sum, <32 x bfloat> %x, <32 x bfloat> %y)
  ret <16 x float> %total
}
"""

# Sixteen float32 rounded to nearest even, numbers below the normal ones to zero (VCVTNEPS2BF16).
_ROUND = """
declare <16 x bfloat> @llvm.x86.avx512bf16.cvtneps2bf16.512(<16 x float>)
define <16 x i16> @bireme_to_bf16(<16 x float> %x) {
  %rounded = call <16 x bfloat> @llvm.x86.avx512bf16.cvtneps2bf16.512(<16 x float> %x)
  %bits = bitcast <16 x bfloat> %rounded to <16 x i16>
  ret <16 x i16> %bits
}
"""

AVX512_BF16 = {"dot_bf16": _DOT, "to_bf16": _ROUND}
