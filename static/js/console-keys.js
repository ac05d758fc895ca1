// Characters as strokes of an English (US) keyboard: hypervisors turn a keysym into the key that bears it, without Shift.
const SHIFT = 0xffe1;
const NAMED = { "\b": [0xff08, "Backspace"], "\t": [0xff09, "Tab"], "\n": [0xff0d, "Enter"], " ": [0x20, "Space"] };
const ROW = "`1234567890-=[]\\;',./";
const SHIFTED = '~!@#$%^&*()_+{}|:"<>?';
const CODES = [
  "Backquote", "Digit1", "Digit2", "Digit3", "Digit4", "Digit5", "Digit6", "Digit7", "Digit8", "Digit9", "Digit0",
  "Minus", "Equal", "BracketLeft", "BracketRight", "Backslash", "Semicolon", "Quote", "Comma", "Period", "Slash",
];

const strokeOf = (character) => {
  if (NAMED[character]) return { keysym: NAMED[character][0], code: NAMED[character][1], shift: false };
  const keysym = character.codePointAt(0);
  if (/^[a-z]$/i.test(character)) {
    return { keysym, code: `Key${character.toUpperCase()}`, shift: character !== character.toLowerCase() };
  }
  const plain = ROW.indexOf(character);
  if (plain >= 0) return { keysym, code: CODES[plain], shift: false };
  const shifted = SHIFTED.indexOf(character);
  return shifted >= 0 ? { keysym, code: CODES[shifted], shift: true } : null;
};

// The strokes of a text, and the characters that this keyboard has not.
export const strokesOf = (text) => {
  const strokes = [];
  const skipped = new Set();
  for (const character of text.replaceAll("\r\n", "\n")) {
    const stroke = strokeOf(character);
    if (stroke) strokes.push(stroke);
    else skipped.add(character);
  }
  return { strokes, skipped: [...skipped].join(" ") };
};

export const press = (rfb, { keysym, code, shift }) => {
  if (shift) rfb.sendKey(SHIFT, "ShiftLeft", true);
  rfb.sendKey(keysym, code, true);
  rfb.sendKey(keysym, code, false);
  if (shift) rfb.sendKey(SHIFT, "ShiftLeft", false);
};
