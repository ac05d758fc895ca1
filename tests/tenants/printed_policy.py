"""The policy in print: what each predefined role holds, and where it can be given. ``docs/policy.md`` is this, word for word.

``python -m tests.tenants.printed_policy > docs/policy.md`` prints it anew after a change, which then shows in the diff.
"""

from __future__ import annotations

from tenants.fitting import fits
from tenants.permits import Permit
from tenants.predefined import PREDEFINED

KINDS = ("system", "data_center", "vm", "template", "image", "network", "vnic_profile")
HEAD = """# The policy in print

What each role that comes with the portal holds, and on what it can be given. Printed from the code by
`python -m tests.tenants.printed_policy > docs/policy.md`; a test compares the two.

A role given on the whole system holds on every data center, one given on a data center on everything in it. Of what a data
center may merely use (an assigned template or network), only seeing and using come through. One given on a network holds on
its vNIC profiles; the permits that are asked of a vNIC profile are the network's.
"""


def printed() -> str:
    """The whole page."""
    names = [role.name for role in PREDEFINED]
    held = [(permit, [permit in role.permits for role in PREDEFINED]) for permit in Permit]
    given = [(kind, [fits(role.permits, kind) for role in PREDEFINED]) for kind in KINDS]
    says = [f"- **{role.name}** (`{role.codename}`): {role.description}" for role in PREDEFINED]
    parts = (HEAD, "\n".join(says), "## Permits", _table("Permit", names, held), "## Where", _table("On", names, given))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(corner: str, names: list[str], rows: list[tuple[str, list[bool]]]) -> str:
    lines = [[corner, *names], ["---"] * (len(names) + 1)]
    lines += [[title, *("x" if has else "" for has in cells)] for title, cells in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    print(printed(), end="")
