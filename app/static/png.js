// PNG files as chunks: the words in them, and many of them as one animation. No network, no page.

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const LATIN = new TextDecoder("latin1");
const UTF8 = new TextDecoder();

/** The text chunks of a PNG, by keyword; empty for any other file. */
export function texts(buffer) {
  const found = {};
  for (const { type, data } of chunks(buffer)) {
    const end = data.indexOf(0);
    if (end < 0) continue;
    const keyword = LATIN.decode(data.subarray(0, end));
    if (type === "tEXt") found[keyword] = LATIN.decode(data.subarray(end + 1));
    // Uncompressed, as they are written here: two flags, a language and a translated keyword.
    if (type === "iTXt" && data[end + 1] === 0) {
      const language = data.indexOf(0, end + 3);
      found[keyword] = UTF8.decode(data.subarray(data.indexOf(0, language + 1) + 1));
    }
  }
  return found;
}

/** PNGs of one size and kind as an animated PNG (the third edition of the standard) that loops. */
export function animation(buffers, { milliseconds }) {
  const frames = buffers.map(chunks);
  const head = frames[0].find(({ type }) => type === "IHDR").data;
  let sequence = 0;
  const parts = [
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", head),
    chunk("acTL", numbers([4, frames.length], [4, 0])),
  ];
  frames.forEach((frame, index) => {
    const [width, height] = [number(head, 0), number(head, 4)];
    const control = [[4, sequence++], [4, width], [4, height], [4, 0], [4, 0]];
    parts.push(chunk("fcTL", numbers(...control, [2, milliseconds], [2, 1000], [1, 0], [1, 0])));
    for (const { type, data } of frame) {
      if (type !== "IDAT") continue;
      parts.push(index === 0 ? chunk(type, data) : chunk("fdAT", numbers([4, sequence++]), data));
    }
  });
  return new Blob([...parts, chunk("IEND")], { type: "image/png" });
}

function chunks(buffer) {
  const bytes = new Uint8Array(buffer);
  const found = [];
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte)) return found;
  for (let at = SIGNATURE.length; at + 12 <= bytes.length; ) {
    const length = number(bytes, at);
    const type = LATIN.decode(bytes.subarray(at + 4, at + 8));
    found.push({ type, data: bytes.subarray(at + 8, at + 8 + length) });
    at += 12 + length;
  }
  return found;
}

function chunk(type, ...parts) {
  const length = parts.reduce((total, part) => total + part.length, 0);
  const whole = new Uint8Array(12 + length);
  whole.set(numbers([4, length]));
  whole.set([...type].map((letter) => letter.charCodeAt(0)), 4);
  let at = 8;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  whole.set(numbers([4, crc(whole.subarray(4, at))]), at);
  return whole;
}

/** [bytes, value] pairs, big-endian. */
function numbers(...pairs) {
  return Uint8Array.from(
    pairs.flatMap(([bytes, value]) => {
      return Array.from({ length: bytes }, (_, i) => (value >>> (8 * (bytes - 1 - i))) & 255);
    }),
  );
}

function number(bytes, at) {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
