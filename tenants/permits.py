"""Permits: rights to one verb. Pure."""

from __future__ import annotations

from enum import StrEnum


class Permit(StrEnum):
    """The right to one verb, in oVirt's manner (its engine calls them action groups)."""

    SYSTEM_MANAGE = "SYSTEM_MANAGE"
    PROVIDER_VIEW = "PROVIDER_VIEW"
    PROVIDER_MANAGE = "PROVIDER_MANAGE"
    USER_MANAGE = "USER_MANAGE"
    GRANT = "GRANT"
    DATA_CENTER_VIEW = "DATA_CENTER_VIEW"
    DATA_CENTER_EDIT = "DATA_CENTER_EDIT"
    QUOTA_VIEW = "QUOTA_VIEW"
    QUOTA_EDIT = "QUOTA_EDIT"
    QUOTA_CONSUME = "QUOTA_CONSUME"
    TEMPLATE_VIEW = "TEMPLATE_VIEW"
    TEMPLATE_USE = "TEMPLATE_USE"
    TEMPLATE_CREATE = "TEMPLATE_CREATE"
    TEMPLATE_EDIT = "TEMPLATE_EDIT"
    TEMPLATE_DELETE = "TEMPLATE_DELETE"
    IMAGE_VIEW = "IMAGE_VIEW"
    IMAGE_UPLOAD = "IMAGE_UPLOAD"
    IMAGE_DELETE = "IMAGE_DELETE"
    NETWORK_VIEW = "NETWORK_VIEW"
    NETWORK_USE = "NETWORK_USE"
    VM_CREATE = "VM_CREATE"
    VM_VIEW = "VM_VIEW"
    VM_EDIT = "VM_EDIT"
    VM_DELETE = "VM_DELETE"
    VM_RUN = "VM_RUN"
    VM_SHUT_DOWN = "VM_SHUT_DOWN"
    VM_STOP = "VM_STOP"
    VM_REBOOT = "VM_REBOOT"
    VM_CONNECT = "VM_CONNECT"
    JOB_VIEW = "JOB_VIEW"
    JOB_CANCEL = "JOB_CANCEL"
    JOB_MANAGE = "JOB_MANAGE"
    EVENT_VIEW = "EVENT_VIEW"


OF_WHAT = {"vnic_profile": "network"}
"""The kind of object whose permits are asked of objects of another kind: of the whole for what is a part of it."""


def noun_of(kind: str) -> str:
    """With what the permits begin that are asked of objects of this kind (``VM``, ``DATA_CENTER`` ...)."""
    return OF_WHAT.get(kind, kind).upper()


VIEWING = frozenset(permit for permit in Permit if permit.value.endswith("_VIEW"))
"""What a token that may only read can do at most."""

LASTING = frozenset({Permit.GRANT, Permit.USER_MANAGE})
"""What is done by these stays when the token is gone by which it was done: roles, accounts, passwords, other tokens."""

EVERYTHING = "ALL"
"""Named among a token's permits: all that its user holds, these too."""

ASSIGNED = frozenset({Permit.TEMPLATE_VIEW, Permit.TEMPLATE_USE, Permit.NETWORK_VIEW, Permit.NETWORK_USE})
"""What an assignment conveys; edit, delete and grant come through the owner."""
