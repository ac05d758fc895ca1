"""The libvirt driver by itself; beside it, in `libvirt/`, the portal on a real libvirt."""
