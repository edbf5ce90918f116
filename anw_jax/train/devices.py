"""One 1-D mesh, named "data": batches are split over it, everything else is copied."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from anw_jax import _check, _jax_settings
from anw_jax.errors import SettingsError


def data_mesh(batch_size: int, num_devices: int | None = None) -> Mesh:
    """Return a mesh of the most devices that divide the batch.

    Args:
      batch_size: images per optimizer step.
      num_devices: at most so many; None = all there are.

    Raises:
      ValueError: if more devices are asked for than there are.
      SettingsError: in a run of several processes, which is not supported yet.
    """
    if jax.process_count() > 1:
        raise SettingsError(
            f"training over {jax.process_count()} processes is not supported yet: run it in "
            "one process, on the devices of one host"
        )
    devices = jax.devices()
    if num_devices is None:
        num_devices = len(devices)
    _check.integer_at_least(1, num_devices=num_devices)
    if num_devices > len(devices):
        raise ValueError(
            f"num_devices must be at most the {len(devices)} there are, got {num_devices}"
        )
    count = max(n for n in range(1, num_devices + 1) if batch_size % n == 0)
    return Mesh(np.asarray(devices[:count]), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return a full copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def shares_threads(mesh: Mesh) -> bool:
    """Return whether two programs in flight can wait for each other for ever.

    Sums over several CPU devices share a few threads (seen on two busy cores); accelerators
    have queues of their own.
    """
    return mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"


def settings_of_jax() -> dict[str, Any]:
    """Return the settings and flags that decide numbers; the devices are those of the mesh."""
    of_devices = ("platform", "device_kind", "num_devices")
    settings = _jax_settings.number_settings()
    return {name: value for name, value in settings.items() if name not in of_devices}
