"""The networks by the names that files and configurations have for them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from napari_lucyd.networks.care import CARE, CareConfig
from napari_lucyd.networks.lucyd import LUCYD, LucydConfig
from napari_lucyd.networks.network import Network, NetworkConfig
from napari_lucyd.networks.rln import RLN, RlnConfig

_NETWORKS: dict[type[NetworkConfig], type[Network]] = {LucydConfig: LUCYD, RlnConfig: RLN, CareConfig: CARE}
_CONFIGS = {network.name: config for config, network in _NETWORKS.items()}


def config_class(name: Any) -> type[NetworkConfig]:
    """The configuration of the networks of a name.

    Raises
    ------
    ValueError
        If there is none; the message names the known ones.
    """
    if name not in _CONFIGS:
        raise ValueError(f"The network type is {name!r}; it has to be one of {', '.join(_CONFIGS)}.")
    return _CONFIGS[name]


def network_class(config: NetworkConfig) -> type[Network]:
    """The network that a configuration belongs to: called with it, it builds one."""
    return _NETWORKS[type(config)]


def describe(config: NetworkConfig) -> dict[str, Any]:
    """A configuration as plain JSON data, its network's name as ``type`` in front."""
    return {"type": network_class(config).name, **asdict(config)}
