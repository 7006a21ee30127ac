// Gives the browser a file to keep: a link cannot send an API key, so the bytes are here already.

const KEPT_MS = 60_000; // the browser reads it after the click

/** Hand a file to the browser's downloads. */
export function save(data, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(data);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}
