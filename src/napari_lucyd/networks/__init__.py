"""Networks: each has a frozen configuration and a module that maps tensors to tensors."""

from napari_lucyd.networks.care import CARE, CareConfig, CareOutput
from napari_lucyd.networks.health import Health, measure_health
from napari_lucyd.networks.lucyd import LUCYD, LucydConfig, LucydOutput
from napari_lucyd.networks.network import Network, NetworkConfig
from napari_lucyd.networks.registry import config_class, describe, network_class
from napari_lucyd.networks.rln import RLN, RlnConfig, RlnOutput
from napari_lucyd.networks.update_term import centre_update_term, division_share

__all__ = [
    "CARE",
    "LUCYD",
    "RLN",
    "CareConfig",
    "CareOutput",
    "Health",
    "LucydConfig",
    "LucydOutput",
    "Network",
    "NetworkConfig",
    "RlnConfig",
    "RlnOutput",
    "centre_update_term",
    "config_class",
    "describe",
    "division_share",
    "measure_health",
    "network_class",
]
