"""The choice between direct convolutions and Winograd's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bireme.ir.winograd import POINTS
from bireme.passes.convolution_form import DIRECT, Convolution, choose_form, cost

SIZES = st.integers(1, 512)


@pytest.mark.parametrize(
    ("conv", "form"),
    [
        (Convolution(64, 64, 1, 56, 56), 4),
        (Convolution(256, 256, 1, 14, 14), 4),
        (Convolution(512, 512, 1, 7, 7), 2),  # filters for tiles of 4 × 4 are 38 MB
        (Convolution(512, 512, 8, 7, 7), 4),  # but 8 pictures share them
        (Convolution(512, 512, 1, 1, 1), DIRECT),
        (Convolution(64, 64, 1, 1, 56), DIRECT),
    ],
)
def test_forms_of_known_layers(conv, form):
    assert choose_form(conv) == form


@given(st.builds(Convolution, SIZES, SIZES, st.integers(1, 8), SIZES, SIZES))
def test_the_choice_costs_least(conv):
    chosen = choose_form(conv)
    assert all(cost(conv, chosen) <= cost(conv, form) for form in (DIRECT, *POINTS))


@given(st.builds(Convolution, SIZES, SIZES, st.integers(1, 4), SIZES, SIZES), st.integers(2, 9))
def test_tiles_do_not_shrink_with_the_batch(conv, times):
    """Filters, the larger the tiles, are read once whatever the batch."""
    assert choose_form(replace(conv, batch=times * conv.batch)) >= choose_form(conv)
