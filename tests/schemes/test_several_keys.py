"""Erasing one key's mark: whether the others stay depends on the weights that hold them."""

import numpy as np
import pytest

from anw_jax import stats
from anw_jax.keys import MarkKey, one_time_key
from anw_jax.schemes import keygen, multitask, plan_of, weights_digest
from anw_jax.schemes.multitask.reader import flattened, pooled, project, spread

SHAPE = (8, 8, 3)


class Marked:
    """Two keys in one network, each moved by the smallest change of its second layer."""

    def __init__(self, nets, channels: int, num_bits: int):
        self.base = nets.fresh(5, channels=channels)
        self.keys = [self._key(number, num_bits) for number in (1, 2)]
        rows = [self._rows(decoder) for decoder, _ in self.keys]
        wanted = [2.0 * self._scale(d) * bits.signs for d, bits in self.keys]
        self.released = self._moved(
            self.base, np.linalg.pinv(np.concatenate(rows)) @ np.concatenate(wanted)
        )

    def _key(self, number: int, num_bits: int):
        key = one_time_key(MarkKey.for_experiment(5), number)
        decoder = multitask.make_decoder(
            key,
            weights_digest(self.base.variables),
            ("second",),
            num_bits=num_bits,
            image_shape=SHAPE,
            num_probes=160,
        )
        plan = plan_of(decoder, alpha=1e-6, beacon="arbitrator:A", number=number)
        return decoder, keygen(key, decoder, plan, beacon=bytes(32))

    def _rows(self, decoder) -> np.ndarray:
        """How each score depends on the second layer, `[num_bits, hidden · channels]`."""
        hidden = self.base.hidden(decoder.inputs())
        directions = decoder.directions(self.base.second.shape[1]) / self._spread(decoder)
        moved = np.einsum("kh,kc->khc", hidden[0::2] - hidden[1::2], directions)
        return moved.reshape(len(directions), -1)

    def _scale(self, decoder) -> float:
        features = flattened([pooled(self.base(decoder.inputs())[0], 1)])
        return project(decoder, features / self._spread(decoder)).std()

    def _spread(self, decoder) -> float:
        return spread(pooled(self.base(decoder.probes())[0], 1))

    def _moved(self, net, change):
        return type(net)(net.first, net.second + change.reshape(net.second.shape))

    def first_erased(self):
        """The released network, after its first key's scores were turned round."""
        decoder, bits = self.keys[0]
        rows = self._rows(decoder)
        now = rows @ (self.released.second - self.base.second).ravel()
        wanted = -2.0 * self._scale(decoder) * bits.signs
        return self._moved(self.released, np.linalg.pinv(rows) @ (wanted - now))

    def log10_p(self, net) -> list[float]:
        return [
            stats.bit_test(multitask.extract(decoder, self.base, net), bits).log10_p
            for decoder, bits in self.keys
        ]


def test_with_room_for_both_the_second_key_stays(nets):
    """96 hidden units and 64 channels: 32 weights for each bit of both keys."""
    both = Marked(nets, channels=64, num_bits=96)
    assert max(both.log10_p(both.released)) < -12
    first, second = both.log10_p(both.first_erased())
    assert first > -1
    assert second < -12


@pytest.mark.parametrize("channels", [4, 8])
def test_without_room_erasing_one_key_takes_the_other_along(nets, channels):
    """300 bits for each key, and 384 or 768 weights."""
    both = Marked(nets, channels=channels, num_bits=300)
    assert both.log10_p(both.first_erased())[1] > -3
