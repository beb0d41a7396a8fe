"""Networks: a frozen configuration and a module each, tensors in, tensors out."""

from napari_lucyd.networks.centring import centre_update_term
from napari_lucyd.networks.division import division_share
from napari_lucyd.networks.lucyd import LUCYD, LucydConfig, LucydOutput

__all__ = ["LUCYD", "LucydConfig", "LucydOutput", "centre_update_term", "division_share"]
