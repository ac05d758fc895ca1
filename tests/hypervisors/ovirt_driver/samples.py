"""Small bodies as an engine writes them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ovirtsdk4.reader import Reader

ID = UUID("3f0c2a5e-7d1b-4c55-9d5e-0123456789ab")
CENTER, CLUSTER, HOST, DOMAIN, NETWORK, PROFILE, TEMPLATE, DISK = (str(UUID(int=number)) for number in range(1, 9))

VM = f"""<vm href="/ovirt-engine/api/vms/{ID}" id="{ID}">
<actions><link href="x" rel="start"/></actions>
<name>web-1</name><description></description><comment>of the web team</comment>
<link href="/ovirt-engine/api/vms/{ID}/nics" rel="nics"/>
<cpu><architecture>x86_64</architecture><topology><cores>2</cores><sockets>3</sockets><threads>1</threads></topology></cpu>
<memory>1073741824</memory><cluster id="{CLUSTER}"/><host id="{HOST}"/><status>up</status>
<nics><nic id="{NETWORK}"><name>nic1</name><mac><address>56:6F:59:C0:00:01</address></mac></nic><nic/></nics>
<disk_attachments><disk_attachment id="{DISK}"><bootable>true</bootable>
<disk id="{DISK}"><provisioned_size>2048</provisioned_size><status>ok</status></disk></disk_attachment></disk_attachments>
</vm>"""

BODIES = {
    "datacenters": f"""<data_centers><data_center id="{CENTER}"><name>Default</name><status>up</status>
<storage_domains><storage_domain id="{DOMAIN}"><status>maintenance</status></storage_domain></storage_domains>
</data_center></data_centers>""",
    "clusters": f"""<clusters><cluster id="{CLUSTER}"><name>c1</name>
<cpu><architecture>x86_64</architecture><type>Intel Nehalem Family</type></cpu>
<memory_policy><over_commit><percent>150</percent></over_commit></memory_policy>
<version><major>4</major><minor>6</minor></version><data_center id="{CENTER}"/>
<networks><network id="{NETWORK}"><name>lan</name><cluster id="{CLUSTER}"/><required>true</required></network></networks>
</cluster></clusters>""",
    "hosts": f"""<hosts><host id="{HOST}"><name>node1</name><status>non_operational</status><memory>8589934592</memory>
<max_scheduling_memory>4294967296</max_scheduling_memory><cluster id="{CLUSTER}"/><address>node1.example</address>
<display><address>198.51.100.7</address></display><nics><host_nic id="{NETWORK}"><ip><address>192.0.2.1</address></ip>
<ipv6><address>2001:db8::1</address></ipv6></host_nic><host_nic id="{PROFILE}"><ip/></host_nic></nics>
<cpu><name>Xeon</name><topology><cores>4</cores><sockets>2</sockets><threads>2</threads></topology></cpu>
<version><full_version>vdsm-4.50.3</full_version></version></host></hosts>""",
    "storagedomains": f"""<storage_domains><storage_domain id="{DOMAIN}"><name>d1</name><type>data</type>
<available>300</available><used>100</used><committed>50</committed><storage><type>nfs</type></storage>
<data_centers><data_center id="{CENTER}"/></data_centers></storage_domain>
<storage_domain id="{PROFILE}"><name>iso</name><type>iso</type><status>unattached</status></storage_domain></storage_domains>""",
    "networks": f"""<networks><network id="{NETWORK}"><name>lan</name><usages><usage>vm</usage></usages><data_center id="{CENTER}"/>
<vnic_profiles><vnic_profile id="{PROFILE}"><name>lan</name></vnic_profile></vnic_profiles></network>
<network id="{PROFILE}"><name>storage</name><usages/></network></networks>""",
    "templates": f"""<templates><template id="{UUID(int=0)}"><name>Blank</name></template>
<template id="{TEMPLATE}"><name>debian</name><status>locked</status><memory>1073741824</memory>
<version><base_template id="{HOST}"/><version_name>trixie</version_name><version_number>2</version_number></version>
<disk_attachments><disk_attachment id="{DISK}"><bootable>true</bootable><disk id="{DISK}"><alias>root</alias>
<provisioned_size>4096</provisioned_size><storage_domains><storage_domain id="{DOMAIN}"/></storage_domains></disk>
</disk_attachment></disk_attachments></template></templates>""",
    "instancetypes": """<instance_types><instance_type id="9"><name>Tiny</name><memory>536870912</memory>
<cpu><topology><cores>1</cores><sockets>1</sockets><threads>1</threads></topology></cpu></instance_type></instance_types>""",
    "vms": f"<vms>{VM}</vms>",
}


def read(body: str) -> Any:
    """As the SDK reads it."""
    return Reader.read(body)


def vm(**changes: str) -> Any:
    """The machine, with the text of elements changed."""
    body = VM
    for name, text in changes.items():
        start, end = body.index(f"<{name}>"), body.index(f"</{name}>")
        body = f"{body[:start]}<{name}>{text}{body[end:]}"
    return read(body)
