"""What the screens of machines that somebody looks at show."""

from __future__ import annotations

from django.db import models

from compute.models.vm import Vm


class Screen(models.Model):
    """A small picture of a machine's screen: in the database, for web and watchers may be on different machines.

    ``wanted_at``: when a page last asked for it. ``next_at``: before that the hypervisor is not asked again. ``taken_at`` and
    ``image`` (WebP) are of the last time that it gave one, empty before. Rows that nobody wants any more are removed.
    """

    vm = models.OneToOneField(Vm, primary_key=True, on_delete=models.CASCADE, related_name="screen")
    wanted_at = models.DateTimeField(db_index=True)
    next_at = models.DateTimeField(null=True, blank=True)
    taken_at = models.DateTimeField(null=True, blank=True)
    image = models.BinaryField(default=bytes)

    def __str__(self) -> str:
        return f"screen of {self.vm_id}"
