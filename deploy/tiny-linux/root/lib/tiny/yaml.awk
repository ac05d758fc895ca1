# Flattens the YAML that a library writes in block style (PyYAML's safe_dump, default_flow_style=False) into records
# "path<TAB>value", one per scalar: users/0/name<TAB>alice. Plain, single- and double-quoted scalars, also over several
# lines, anchors and aliases; other forms (flow collections with content, block scalars, tags) are passed over with all
# they hold. A value with a control character or a line end in it is left out: it could pass for a record of its own.
# Nothing is evaluated.
# (In busybox's regular expressions a backslash between brackets stands for itself, hence [][] and not [\[\]].)

# Unicode's own line ends (U+0085, U+2028, U+2029), which YAML 1.1 takes for such.
BEGIN { line_ends = "\302\205|\342\200\250|\342\200\251" }

{ sub(/\r$/, ""); line[++lines] = $0 }

END {
	at = 1
	if (next_line()) node("", indent())
	for (i = 1; i <= records && i <= 5000; i++) print path[i] "\t" value[i]
}

# --- lines

# Moves to the next line with content; false at the end of the document.
function next_line() {
	while (at <= lines && (line[at] ~ /^ *(#.*)?$/ || line[at] ~ /^(---|%.*)[ ]*$/)) at++
	return at <= lines && line[at] !~ /^(\.\.\.|---)([ ]|$)/
}
function indent() { match(line[at], /^ */); return RLENGTH }
function body() { return substr(line[at], indent() + 1) }
function is_item(text) { return text ~ /^-( |$)/ }

# --- collections

function node(where, column,    number) {
	while (next_line() && indent() == column && is_item(body())) item(where, number++, column)
	if (number) return
	while (next_line() && indent() == column && !is_item(body())) if (!entry(where, column)) at++
	# Deeper or stray lines that belong to nothing understood.
	while (next_line() && indent() > column) at++
}

function item(where, number, column,    text, gap, inside) {
	text = substr(body(), 2)
	match(text, /^ */)
	gap = RLENGTH
	text = substr(text, gap + 1)
	inside = column + 1 + gap
	if (is_item(text) || key_end(text)) {
		# "- key: value" opens a collection on its own line: blank the dash and read it as one.
		line[at] = sprintf("%" inside "s", "") text
		node(join(where, number), inside)
	} else content(join(where, number), text, column, 0)
}

function entry(where, column,    text, end, name) {
	text = body()
	end = key_end(text)
	if (!end) return 0
	name = substr(text, 1, end - 1)
	if (name ~ /^".*"$/ || name ~ /^'.*'$/) name = substr(name, 2, length(name) - 2)
	# A key of any other kind gets a name that no path asks for.
	if (name !~ /^[A-Za-z0-9_-]+$/) name = "?"
	text = substr(text, end + 1)
	sub(/^ +/, "", text)
	content(join(where, name), text, column, 1)
	return 1
}

function join(where, name) { return where == "" ? name : where "/" name }

# Where the colon after a key stands, or 0 if the text does not begin with a key.
function key_end(text,    end) {
	if (text ~ /^["']/) {
		end = quote_end(text, 1)
		return end && substr(text, end + 1) ~ /^:( |$)/ ? end + 1 : 0
	}
	if (text ~ /^[]&*!|>%@`#{}[,?]/) return 0
	if (!match(text, /:( |$)/)) return 0
	end = RSTART
	return substr(text, 1, end) ~ / #/ ? 0 : end
}

# --- what follows a key or a dash

function content(where, text, column, in_map,    name, from) {
	if (text ~ /^&[^ ]+/) {
		match(text, /^&[^ ]+ */)
		name = substr(text, 2, RLENGTH - 1)
		sub(/ +$/, "", name)
		text = substr(text, RLENGTH + 1)
		from = records + 1
		content(where, text, column, in_map)
		anchor_path[name] = where
		anchor_from[name] = from
		anchor_to[name] = records
		return
	}
	if (text ~ /^\*/) { at++; alias(where, substr(text, 2)); return }
	if (text == "" || text ~ /^#/) { at++; below(where, column, in_map); return }
	if (text ~ /^["']/) { quoted(where, text, column); return }
	if (text ~ /^[|>!{[%@`]/) { at++; pass_over(column); return }
	plain(where, text, column)
}

# A collection on the lines below; a list may stand at the very column of the key that holds it.
function below(where, column, in_map) {
	if (!next_line()) return
	if (indent() > column) block(where, column)
	else if (in_map && indent() == column && is_item(body())) items(where, column)
}

function block(where, column,    text) {
	text = body()
	if (is_item(text) || key_end(text)) node(where, indent())
	else content(where, text, column, 0)
}

function items(where, column,    number) {
	while (next_line() && indent() == column && is_item(body())) item(where, number++, column)
}

function pass_over(column) {
	while (at <= lines && (line[at] ~ /^ *$/ || indent() > column)) at++
}

function alias(where, name,    i) {
	sub(/ .*/, "", name)
	if (!(name in anchor_path)) return
	for (i = anchor_from[name]; i <= anchor_to[name]; i++)
		record(where substr(path[i], length(anchor_path[name]) + 1), value[i])
}

# --- scalars

function record(where, text) {
	# Aliases of aliases could fill the memory.
	if (records < 5000 && text !~ /[[:cntrl:]]/ && text !~ line_ends) { path[++records] = where; value[records] = text }
}

function plain(where, text, column) {
	sub(/ +#.*$/, "", text)
	at++
	while (next_line() && indent() > column) { text = text " " body(); sub(/ +#.*$/, "", text); at++ }
	sub(/ +$/, "", text)
	if (text !~ /^(~|null|Null|NULL)$/) record(where, text)
}

# The closing quote of the quoted text that opens at `start`, or 0.
function quote_end(text, start,    mark, i, char) {
	mark = substr(text, start, 1)
	for (i = start + 1; i <= length(text); i++) {
		char = substr(text, i, 1)
		if (char == "\\" && mark == "\"") i++
		else if (char == mark) {
			if (mark == "'" && substr(text, i + 1, 1) == "'") i++
			else return i
		}
	}
	return 0
}

function quoted(where, text, column,    mark, end, breaks, more) {
	mark = substr(text, 1, 1)
	at++
	while (!(end = quote_end(text, 1))) {
		if (at > lines) return
		more = line[at++]
		sub(/^ +/, "", more)
		if (more == "") { breaks++; continue }
		text = folded(text, mark, breaks) more
		breaks = 0
	}
	text = substr(text, 2, end - 2)
	if (mark == "'") gsub(/''/, "'", text)
	else text = unescaped(text)
	record(where, text)
}

# A line's end inside quotes is a space, empty lines are line ends, and a backslash before it joins without either.
function folded(text, mark, breaks,    joint) {
	sub(/ +$/, "", text)
	if (breaks) return text "\001"
	joint = " "
	if (mark == "\"" && match(text, /\\+$/) && RLENGTH % 2) { text = substr(text, 1, length(text) - 1); joint = "" }
	return text joint
}

function unescaped(text,    out, i, char, size) {
	for (i = 1; i <= length(text); i++) {
		char = substr(text, i, 1)
		if (char != "\\") { out = out char; continue }
		char = substr(text, ++i, 1)
		size = char == "x" ? 2 : char == "u" ? 4 : char == "U" ? 8 : 0
		if (size) { out = out utf8(hex(substr(text, i + 1, size))); i += size }
		else if (index("\"\\/ ", char)) out = out char
		else if (char == "_") out = out utf8(160)
		else if (char == "N") out = out utf8(133)
		else if (char == "L") out = out utf8(8232)
		else if (char == "P") out = out utf8(8233)
		# \n, \t, \0, \e ...: control characters, for which the whole value will be left out.
		else out = out "\001"
	}
	return out
}

function hex(digits,    i, number) {
	digits = tolower(digits)
	for (i = 1; i <= length(digits); i++) number = number * 16 + index("0123456789abcdef", substr(digits, i, 1)) - 1
	return number
}

function utf8(code) {
	if (code < 32 || code == 127) return "\001"
	if (code < 128) return sprintf("%c", code)
	if (code < 2048) return sprintf("%c%c", 192 + int(code / 64), 128 + code % 64)
	if (code < 65536) return sprintf("%c%c%c", 224 + int(code / 4096), 128 + int(code / 64) % 64, 128 + code % 64)
	return sprintf("%c%c%c%c", 240 + int(code / 262144), 128 + int(code / 4096) % 64, 128 + int(code / 64) % 64, 128 + code % 64)
}
