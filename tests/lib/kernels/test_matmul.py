"""Fast products are as exact as the usual ones or are not used, and nobody's settings change."""

import threading
from collections.abc import Iterator

import pytest
import torch
from gatelr.kernels import matmul, sweep

LARGE = (40, 64, 64, 32)
SETTING = torch.backends.mkldnn.matmul


@pytest.fixture(autouse=True)
def _tried_anew() -> Iterator[None]:
    matmul.exact.cache_clear()
    yield
    matmul.exact.cache_clear()


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor where the trial succeeds, whichever this one is."""
    monkeypatch.setattr(matmul, "exact", lambda shape: True)


@pytest.mark.parametrize(("kept", "taken"), [(8, False), (11, False), (16, False), (24, True)])
def test_only_a_product_that_rounds_nothing_is_taken(monkeypatch: pytest.MonkeyPatch, kept: int, taken: bool) -> None:
    """A processor whose products see so many bits once they may: bfloat16, TF32, two bfloat16 for one, float32."""
    usual = torch.Tensor.__matmul__

    def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if SETTING.fp32_precision == "bf16":
            mantissa, exponent = torch.frexp(left)
            left = torch.ldexp(torch.round(mantissa * 2**kept) / 2**kept, exponent)
        return usual(left.double(), right.double()).to(left.dtype)

    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    assert matmul.exact(LARGE) == taken
    with matmul.full_width(torch.zeros(1), LARGE):
        assert (SETTING.fp32_precision == "bf16") == taken


@pytest.mark.parametrize("shape", [(1, 8, 8, 8), (20, 32, 19, 64)])
def test_what_is_too_small_to_gain_is_left_alone(shape: tuple[int, int, int, int]) -> None:
    assert not matmul.exact(shape)


@pytest.mark.usefixtures("allowed")
def test_float64_is_left_alone() -> None:
    with matmul.full_width(torch.zeros(1, dtype=torch.float64), LARGE):
        assert SETTING.fp32_precision != "bf16"


def test_without_a_shape_nothing_was_tried_and_nothing_is_allowed() -> None:
    with matmul.full_width(torch.zeros(1)):
        assert SETTING.fp32_precision != "bf16"


def test_one_product_that_would_be_rounded_stops_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "exact", lambda shape: shape == LARGE)
    with matmul.full_width(torch.zeros(1), LARGE, (1, 1, 1, 1)):
        assert SETTING.fp32_precision != "bf16"


def test_the_trial_leaves_the_setting_and_the_draws_as_they_were() -> None:
    before, drawn = SETTING.fp32_precision, torch.get_rng_state()
    matmul.exact(LARGE)
    assert SETTING.fp32_precision == before
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.usefixtures("allowed")
def test_the_setting_is_put_back_after_an_error() -> None:
    before = SETTING.fp32_precision
    with pytest.raises(ZeroDivisionError), matmul.full_width(torch.zeros(1), LARGE):
        raise ZeroDivisionError
    assert SETTING.fp32_precision == before


@pytest.mark.usefixtures("allowed")
def test_the_last_of_two_threads_puts_the_setting_back() -> None:
    before = SETTING.fp32_precision
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with matmul.full_width(torch.zeros(1), LARGE):
            entered.set()
            leave.wait(60)

    with matmul.full_width(torch.zeros(1), LARGE):
        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(60)
    assert SETTING.fp32_precision == "bf16"  # the other is still at work
    leave.set()
    thread.join(60)
    assert SETTING.fp32_precision == before


def test_a_sweep_large_enough_for_them_is_as_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the same sweep in float64, no worse than four times the usual products."""
    S, B, T, n, m = 20, 64, 12, 32, 3
    random = torch.Generator().manual_seed(0)
    u, x0 = torch.randn(T, S, B, m, generator=random), torch.randn(S, B, n, generator=random)
    W, delta = 0.2 * torch.randn(S, 2 * n, n + m + 1, generator=random), torch.randn(S, B, n, generator=random)

    def gradient(dtype: torch.dtype) -> torch.Tensor:
        swept = sweep.forward(u.to(dtype), x0.to(dtype), W.to(dtype), None)
        return sweep.adjoint(swept, delta.to(dtype)).W.double()

    assert 2 * n * (n + m + 1) * S * B >= matmul.WORTHWHILE
    fast, true = gradient(torch.float32), gradient(torch.float64)
    monkeypatch.setattr(matmul, "exact", lambda shape: False)
    usual = gradient(torch.float32)
    assert (fast - true).abs().max() <= 4 * (usual - true).abs().max()


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("rows", [0, 1, 255, 256, 257, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tall_products(rows: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(rows)
    left, right = (torch.randn(8, k, 5, generator=generator, dtype=dtype) for k in (rows, 5))
    out = torch.full_like(left, torch.nan)
    assert matmul.matmul(left, right, out) is out
    assert torch.allclose(out, left @ right, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-14)


def test_one_trial_serves_all_numbers_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(matmul, "exact", lambda shape: bool(tried.append(shape)))
    for rows in (1, 255, 256, 1000):
        matmul.matmul(torch.zeros(8, rows, 4), torch.zeros(8, 4, 5), torch.zeros(8, rows, 5))
    assert tried == 2 * [(8, 256, 4, 5)]
