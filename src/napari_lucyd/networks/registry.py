"""The networks, by their names in files and configurations."""

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
    """Return the configuration class of a network, by its name.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the known ones.
    """
    if not isinstance(name, str) or name not in _CONFIGS:
        raise ValueError(f"The network type is {name!r:.80}; use one of {', '.join(_CONFIGS)}.")
    return _CONFIGS[name]


def network_class(config: NetworkConfig) -> type[Network]:
    """Return the network class of a configuration."""
    return _NETWORKS[type(config)]


def describe(config: NetworkConfig) -> dict[str, Any]:
    """Describe a configuration as plain JSON data; ``type`` holds the network's name.

    Raises
    ------
    ValueError
        If it is the configuration of a network of another maker, which cannot be built from it.
    """
    if type(config) not in _NETWORKS:
        raise ValueError(
            "The model comes from a bioimage.io package, which can only be run: it cannot be saved, trained "
            "or exported here."
        )
    return {"type": network_class(config).name, **asdict(config)}
