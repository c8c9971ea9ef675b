"""The vibration signal: pure, the same however it is cut, and faulty when it says so."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.adapters.sensors.vibration_signal import CHANNELS, Fault, VibrationSignal

_RATE_HZ = 200.0


def _signal(seed: int = 3, fault_every_s: float = 20.0, fault_for_s: float = 5.0) -> VibrationSignal:
    return VibrationSignal(rate_hz=_RATE_HZ, seed=seed, fault_every_s=fault_every_s, fault_for_s=fault_for_s)


def test_samples_have_the_asked_shape() -> None:
    samples = _signal().samples(17, 128)
    assert samples.shape == (128, len(CHANNELS))
    assert samples.dtype == np.float32
    assert _signal().samples(5, 0).shape == (0, 3)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**31), first=st.integers(0, 10**7), sizes=st.lists(st.integers(0, 400), max_size=6)
)
def test_samples_are_the_same_however_they_are_cut(seed: int, first: int, sizes: list[int]) -> None:
    signal = _signal(seed)
    starts = [first, *(first + end for end in itertools.accumulate(sizes))]
    pieces = [signal.samples(start, size) for start, size in zip(starts, sizes, strict=False)]
    joined = np.concatenate(pieces) if pieces else np.empty((0, 3), np.float32)
    assert np.array_equal(joined, _signal(seed).samples(first, sum(sizes)))


def test_other_seeds_give_other_noise_that_is_no_shifted_copy() -> None:
    first, second = _signal(1).samples(0, 4000)[:, 0], _signal(2).samples(0, 4000)[:, 0]
    # What the two have in common is the machine; the difference of neighbours leaves mostly the noise.
    noise_1, noise_2 = np.diff(first, 3), np.diff(second, 3)
    shifts = [abs(float(np.corrcoef(noise_1[s:], noise_2[: len(noise_2) - s])[0, 1])) for s in range(5)]
    assert max(shifts) < 0.9
    assert not np.array_equal(first, second)


def test_faults_come_when_announced_and_take_turns() -> None:
    signal = _signal()
    faulty = [signal.is_faulty(index) for index in range(round(45 * _RATE_HZ))]
    changes = np.flatnonzero(np.diff(np.array(faulty, np.int8))) + 1
    assert (changes / _RATE_HZ).tolist() == [15.0, 20.0, 35.0, 40.0]
    assert signal.fault_at(round(16 * _RATE_HZ)) is Fault.BEARING
    assert signal.fault_at(round(36 * _RATE_HZ)) is Fault.IMBALANCE
    assert signal.fault_at(0) is None


@pytest.mark.parametrize("seed", [0, 1, 99])
def test_a_fault_shakes_the_machine_more(seed: int) -> None:
    signal = _signal(seed)
    sound = signal.samples(0, 3000).std(axis=0)
    bearing = signal.samples(round(15 * _RATE_HZ), 1000).std(axis=0)
    imbalance = signal.samples(round(35 * _RATE_HZ), 1000).std(axis=0)
    assert (bearing[:2] > 1.25 * sound[:2]).all()
    assert (imbalance[:2] > 1.5 * sound[:2]).all()


def test_impacts_are_sharp_and_imbalance_is_not() -> None:
    signal = _signal()

    def sharpness(first_s: float) -> float:
        x = signal.samples(round(first_s * _RATE_HZ), 1000)[:, 0]
        x = x - x.mean()
        power = np.abs(np.fft.rfft(x)) ** 2
        hertz = np.fft.rfftfreq(len(x), 1 / _RATE_HZ)
        return float(power[hertz > 55].sum() / power.sum())

    assert sharpness(15) > 3 * sharpness(35)


def test_axial_channel_carries_gravity() -> None:
    assert _signal().samples(0, 2000).mean(axis=0) == pytest.approx([0, 0, 1], abs=0.02)


def test_no_fault_means_never() -> None:
    signal = _signal(fault_for_s=0.0)
    assert not any(signal.is_faulty(index) for index in range(0, 20_000, 50))


@pytest.mark.parametrize(
    ("rate_hz", "every", "lasting", "said"),
    [(0.0, 20.0, 5.0, "rate_hz"), (200.0, 5.0, 5.0, "fault_for_s"), (200.0, 20.0, -1.0, "fault_for_s")],
)
def test_impossible_settings_are_refused(rate_hz: float, every: float, lasting: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        VibrationSignal(rate_hz=rate_hz, seed=0, fault_every_s=every, fault_for_s=lasting)
