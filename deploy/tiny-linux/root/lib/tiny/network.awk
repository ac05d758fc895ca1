# Reads the flat records of a network-config (version 2) and prints what to set on one NIC (ENVIRON NIC, MAC):
# "address A/N", "gateway A", "dns A" or "dhcp". Only digits, dots, colons and a slash get through.
BEGIN { FS = "\t" }
{
	path = $1
	sub(/^network\//, "", path)
	if (split(path, part, "/") < 3 || part[1] != "ethernets") next
	name = part[2]
	if (!(name in known)) { known[name] = ++count; names[count] = name }
	rest = substr(path, length("ethernets/" name "/") + 1)
	if (rest == "match/macaddress") mac[name] = tolower($2)
	else if (rest == "match/name") match_name[name] = $2
	else if (rest == "dhcp4") dhcp[name] = ($2 ~ /^(true|yes|on)$/)
	else if (rest ~ /^addresses\/[0-9]+$/) add(name, "address", $2)
	else if (rest == "gateway4") add(name, "gateway", $2)
	else if (rest ~ /^nameservers\/addresses\/[0-9]+$/) add(name, "dns", $2)
	else if (rest ~ /^routes\/[0-9]+\/to$/ && $2 ~ /^(default|0\.0\.0\.0\/0)$/) is_default[name, part[4]] = 1
	else if (rest ~ /^routes\/[0-9]+\/via$/) via[name, part[4]] = $2
}
END {
	wanted = ""
	for (i = 1; i <= count && wanted == ""; i++) if (applies(names[i])) wanted = names[i]
	if (wanted == "") { print "dhcp"; exit }
	printf "%s", lines[wanted]
	for (key in is_default) {
		split(key, part, SUBSEP)
		if (part[1] == wanted && safe(via[key])) print "gateway " via[key]
	}
	if (dhcp[wanted] || lines[wanted] !~ /address/) print "dhcp"
}
function applies(name) {
	if (name in mac) return mac[name] == ENVIRON["MAC"]
	if (name in match_name) return match_name[name] == ENVIRON["NIC"]
	return name == ENVIRON["NIC"]
}
function safe(value) { return value ~ /^[0-9A-Fa-f.:]+(\/[0-9]+)?$/ }
function add(name, verb, value) { if (safe(value)) lines[name] = lines[name] verb " " value "\n" }
