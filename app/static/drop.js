// Pictures that are dropped or pasted anywhere on the page.

/** `onFile(file)` is called with each. */
export function takeFiles(onFile) {
  const isPicture = (file) => file.type.startsWith("image/");
  addEventListener("dragover", (event) => {
    if (event.dataTransfer.types.includes("Files")) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault(); // else the browser would go there
    const file = [...event.dataTransfer.files].find(isPicture);
    if (file) onFile(file);
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(isPicture);
    if (!file) return;
    event.preventDefault();
    onFile(file);
  });
}
