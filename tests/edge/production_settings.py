"""A real installation's settings, with the double among the drivers and nothing else changed."""

from portal.settings.production import *  # noqa: F403

HYPERVISOR_DRIVERS = {"double": "tests.doubles.hypervisor.DoubleDriver"}
