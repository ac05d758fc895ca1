"""The portal: files here are the roof, folders here are the floor."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
