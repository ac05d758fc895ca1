from network.models.grants import NetworkGroupGrant, NetworkUserGrant, VnicProfileGroupGrant, VnicProfileUserGrant
from network.models.network import FoundNetwork, Network, NetworkAssignment, VnicProfile

__all__ = [
    "FoundNetwork",
    "Network",
    "NetworkAssignment",
    "NetworkGroupGrant",
    "NetworkUserGrant",
    "VnicProfile",
    "VnicProfileGroupGrant",
    "VnicProfileUserGrant",
]
